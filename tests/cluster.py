"A dask cluster of separate processes, as `dask scheduler` and `dask worker` start them, to be killed one by one."
import os, signal, subprocess, sys, time
from pathlib import Path

from night import ENVIRON

class Cluster:
    "A scheduler and its workers; `address` is its file, which a new scheduler writes anew."
    def __init__(self, folder: Path, workers: int = 2):
        self.folder, self.address, self.processes = folder, folder/'scheduler.json', {}
        self.start_scheduler()
        for i in range(workers): self.start_worker(f'gpu-{i}')

    def start(self, name: str, *command):
        with open(self.folder/f'{name}.log', 'a') as log:
            self.processes[name] = subprocess.Popen([sys.executable, '-m', *command], stdout=log, stderr=log, cwd=self.folder, env=ENVIRON, start_new_session=True)

    def start_scheduler(self):
        self.address.unlink(missing_ok=True)
        self.start('scheduler', 'distributed.cli.dask_scheduler', '--host', '127.0.0.1', '--port', '0', '--no-dashboard', '--scheduler-file', str(self.address))
        end = time.monotonic() + 30
        while not self.address.exists(): assert time.monotonic() < end; time.sleep(.05)

    def start_worker(self, name: str):
        self.start(name, 'distributed.cli.dask_worker', '--scheduler-file', str(self.address), '--nthreads', '1', '--no-dashboard', '--name', name, '--death-timeout', '20')

    def kill(self, name: str):
        "SIGKILL for the process and whatever it has started."
        try: os.killpg(self.processes[name].pid, signal.SIGKILL)
        except ProcessLookupError: pass
        self.processes.pop(name).wait()

    def __enter__(self): return self
    def __exit__(self, *error):
        for name in list(self.processes): self.kill(name)
