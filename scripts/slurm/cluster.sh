#!/bin/sh
# A SLURM cluster of one node on the loopback interface, for tests: cluster.sh FOLDER up|down. As root, without systemd,
# cgroups and accounting; all state is in FOLDER, which must hold no other cluster.
set -eu
S=$(mkdir -p "$1" && cd "$1" && pwd)
NODE=$(hostname -s)
export SLURM_CONF="$S/slurm.conf"

if [ "$2" = down ]; then
  scontrol shutdown || true
  if [ -f "$S/munge/pid" ]; then kill "$(cat "$S/munge/pid")" || true; fi
  exit 0
fi

for program in slurmctld slurmd munged sbatch; do
  command -v "$program" > /dev/null || { echo "$program is missing (Debian: slurmctld slurmd slurm-client munge)" >&2; exit 3; }
done
mkdir -p "$S/state" "$S/spool" "$S/log" "$S/munge"
chmod 700 "$S/munge"
[ -f "$S/munge/key" ] || (umask 077 && head -c 1024 /dev/urandom > "$S/munge/key")
munged --force --key-file="$S/munge/key" --socket="$S/munge/sock" --pid-file="$S/munge/pid" \
  --log-file="$S/munge/log" --seed-file="$S/munge/seed" --num-threads=2
cat > "$SLURM_CONF" <<END
ClusterName=test
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmctldHost=$NODE(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# a requeued job waits for as long as a credential lives, two minutes by default
AuthInfo=socket=$S/munge/sock,cred_expire=20
StateSaveLocation=$S/state
SlurmdSpoolDir=$S/spool
SlurmctldPidFile=$S/slurmctld.pid
SlurmdPidFile=$S/slurmd.pid
SlurmctldLogFile=$S/log/slurmctld.log
SlurmdLogFile=$S/log/slurmd.log
SlurmctldPort=16817
SlurmdPort=16818
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
KillWait=5
NodeName=$NODE NodeAddr=127.0.0.1 CPUs=2 RealMemory=4000 State=UNKNOWN
PartitionName=debug Nodes=$NODE Default=YES MaxTime=INFINITE State=UP
END
slurmctld -i -c
sleep 2
slurmd -c
sleep 3
sinfo
