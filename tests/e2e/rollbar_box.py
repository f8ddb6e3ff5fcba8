"""A sandbox with a Rollbar, whose state lies in it."""
import glob
import stat

from harness import *
from rollbar_stub import Reply, Rollbar, TOKEN, faults_of

OTHER = "fedcba9876543210fedcba9876543210"


class Box(Sandbox):
    """A sandbox whose state lies in it, with a Rollbar."""

    def __init__(self, rollbar=None, **env):
        super().__init__(**env)
        self.rollbar = self.keep(rollbar or Rollbar())
        self.state = os.path.join(self.dir, "state")

    def env(self, traced=True, **more):
        return super().env(traced, **{"REMORA_STATE_DIR": self.state, "ROLLBAR_ENDPOINT": self.rollbar.url,
                                      "ROLLBAR_ACCESS_TOKEN": TOKEN, "REMORA_RUNTIME_DIR": self.runtime, **more})

    def remora(self, *args, rc=0, env=None, timeout=30.0):
        r = self.run([LAUNCHER, *args], traced=False, env=env, timeout=timeout)
        r.text = (r.out + r.err).decode()
        check(TOKEN not in r.text and OTHER not in r.text, "the token is printed: %s" % r.text)
        equal(r.rc, rc, "exit status of remora %s (%s)" % (" ".join(args), r.text))
        return r

    def spool(self):
        return sorted(glob.glob(os.path.join(self.state, "spool", "*")))

    def check(self):
        """The schema, and nobody but us reads what is kept."""
        self.rollbar.check()
        for root, dirs, files in os.walk(self.state):
            for name in files:
                path = os.path.join(root, name)
                equal(stat.S_IMODE(os.stat(path).st_mode), 0o600, "mode of " + path)
                with open(path, "rb") as f:
                    check(TOKEN.encode() not in f.read(), "the token is in " + path)
            equal(stat.S_IMODE(os.stat(root).st_mode), 0o700, "mode of " + root)
