"""Reading stderr for errors changes nothing of what a program writes there."""
import glob

from harm import *

ON = {"REMORA_ERRORS": "1", "REMORA_CRASH": "0"}


class Box(Sandbox):
    def __init__(self, **env):
        super().__init__(**env)
        self.state = os.path.join(self.dir, "state")

    def env(self, traced=True, **more):
        return super().env(traced, **({"REMORA_STATE_DIR": self.state, **ON} if traced else {}), **more)

    def titles(self):
        out = []
        for p in sorted(glob.glob(os.path.join(self.state, "crashes", "*.txt"))):
            with open(p) as f:
                out.append(f.readline().strip())
        return sorted(out)


@cases(modes="modes", failing="failing", wide="wide", closed="closed")
def same_bytes(mode):
    with Box() as box:
        argv = command(["texts", mode])
        compare(box.run(argv, traced=False), box.run(argv))


@test
def all_of_it_is_seen():
    """Fifty errors of a thread, in small pieces, beside everything else."""
    with Box() as box:
        r = box.run(command(["texts", "modes"]))
        equal(r.rc, 0, "exit status")
        equal(box.titles(), sorted("a.B: %d" % i for i in range(50)), "errors")


@cases(reopened="reopened", other="other", fclosed="fclosed")
def not_its_stderr(mode):
    """A file or a socket that has the number now is data, not text."""
    with Box() as box:
        argv = command(["texts", mode, box.path("data")])
        plain = box.run(argv, traced=False)
        with open(box.path("data"), "rb") as f:
            data = f.read()
        compare(plain, box.run(argv))
        with open(box.path("data"), "rb") as f:
            equal(f.read(), data, "bytes in the file")
        equal(box.titles(), box.titles() if mode == "reopened" else [], "errors")


@test
def restored():
    """fd 2 goes away and comes back: it is text again."""
    with Box() as box:
        r = box.run(["/bin/sh", "-c", "exec \"$0\" -c '" + "import os,sys\n"
                     "s=os.dup(2); n=os.open(\"/dev/null\",os.O_WRONLY); os.dup2(n,2); "
                     "os.write(2,b\"panic: x\\n\\ngoroutine 1 [running]:\\nmain.x()\\n\\t/x.go:1\\n\\n\")\n"
                     "os.write(s,b\"a word\\n\"); os.dup2(s,2); os.write(2,b\"Exception in thread \\\"main\\\" a.B: seen\\n\\tat a.B.c(B.java:3)\\n\")" + "'",
                     "/usr/bin/python3.11" if os.path.exists("/usr/bin/python3.11") else PYTHON])
        equal(r.rc, 0, "exit status (%s)" % r.err)
        equal(box.titles(), ["a.B: seen"], "errors")


if __name__ == "__main__":
    main()
