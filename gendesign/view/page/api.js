// The server: JSON requests and one stream of events. Errors carry the server's own line.

async function answer(response) {
  const isJson = (response.headers.get("content-type") || "").includes("json");
  const content = isJson ? await response.json() : await response.text();
  if (!response.ok || (content && content.failed)) {
    const error = new Error((content && content.error) || `the server answered ${response.status}`);
    error.status = response.status;
    throw error;
  }
  return content;
}

export async function get(path) {
  return answer(await fetch(path));
}

export async function post(path, body = {}) {
  const headers = { "content-type": "application/json" };
  return answer(await fetch(path, { method: "POST", headers, body: JSON.stringify(body) }));
}

export async function upload(file) {
  return answer(await fetch(`api/upload?name=${encodeURIComponent(file.name)}`, { method: "POST", body: file }));
}

export function listen(handlers, lost) {
  const source = new EventSource("api/events");
  for (const [name, handle] of Object.entries(handlers)) {
    source.addEventListener(name, (event) => handle(JSON.parse(event.data)));
  }
  source.onopen = () => lost(false);
  source.onerror = () => lost(true);
}
