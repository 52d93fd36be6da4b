"""Protocols: what is shipped, how stages are described, and one line for each mistake."""

import pytest

from gendesign.errors import UserError
from gendesign.generate.amorphous.protocol import Stage, load_protocol, protocols_folder


@pytest.mark.parametrize("name", [path.stem for path in sorted(protocols_folder().glob("*.yaml"))])
def test_every_shipped_protocol_is_sound(name):
    protocol = load_protocol(name)
    assert protocol.about and protocol.name == name
    for stage in protocol.stages:
        assert stage.name and stage.describe()


def test_rates_durations_and_steps_agree():
    by_rate = Stage(temperature=(3000, 300), rate=10, timestep=2)
    by_time = Stage(temperature=(3000, 300), duration=270, timestep=2)
    assert by_rate.picoseconds == 270 and by_rate.steps == by_time.steps == 135_000
    assert by_time.kelvin_per_ps == -10
    assert "3000 to 300 K at 10 K/ps" in by_time.describe() and "270 ps in steps of 2 fs" in by_time.describe()


def test_the_cooling_rate_is_the_slowest_cooling():
    assert load_protocol("silicon_slow").cooling_rate == 1
    assert load_protocol("compress").cooling_rate is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "needs a list stages"),
        ("stages: [3]", "stage 1: it is no section"),
        ("stages: [{speed: 3}]", "unknown key 'speed'"),
        ("stages: [{temperature: 300}]", "give either rate (K/ps) or duration (ps)"),
        ("stages: [{temperature: 300, rate: 5}]", "needs two temperatures"),
        ("stages: [{temperature: [300, 400], rate: 5, duration: 3}]", "give either rate"),
        ("stages: [{temperature: [300, 400, 500], rate: 5}]", "give 1 or 2 numbers"),
        ("stages: [{name: hot, temperature: -5, duration: 5}]", "stage 1 (hot): temperature"),
        ("stages: [{temperature: warm, duration: 5}]", "temperature=warm: give a number"),
        ("stages: [{temperature: 300, duration: 5, pressure: 3}]", "needs ensemble=npt"),
        ("stages: [{temperature: 300, duration: 5, ensemble: npt, density: 2}]", "cannot be prescribed"),
        ("stages: [{temperature: 300, duration: 5, ensemble: nvt}]", "allowed are langevin"),
        ("stages: [{temperature: 300, duration: 5, engine: lammps}]", "needs model="),
        ("stages: [{temperature: 300, duration: 5, model: edip}]", "is for engine=lammps"),
        ("stages: [{kind: relax, temperature: 300}]", "a stage of kind relax has no temperature"),
        ("stages: [{kind: strain, factors: [1, 1]}]", "give 3 numbers"),
        ("stages: [{kind: melt}]", "allowed are md"),
        ("stages: [", "cannot be read"),
    ],
)
def test_mistakes_in_a_file_are_one_line(text, said, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        load_protocol(str(path))
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_an_unknown_protocol_names_the_known_ones():
    with pytest.raises(UserError, match="allowed are aerogel, compress, "):
        load_protocol("fastest")
