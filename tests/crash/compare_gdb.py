#!/usr/bin/env python3
"""Frames of our reports against gdb's, for many states of programs and several builds.
usage: make gdb-frames, or compare_gdb.py build/tests/make_record [STATE...]     prints a table, and what differs
Environment: BUILDS=O0,O2 takes only these."""
import os, subprocess, sys, tempfile
here = os.path.dirname(os.path.abspath(__file__))
tool = os.path.abspath(sys.argv[1])
only = set(sys.argv[2:])
BUILDS = {
    'O0': ['-O0', '-g'], 'O2': ['-O2', '-g', '-fomit-frame-pointer'], 'stripped': ['-O2', '-fomit-frame-pointer', '-s'],
    'static-pie': ['-O2', '-g', '-static-pie'], 'no-pie': ['-O1', '-g', '-no-pie'], 'clang': None,
    'debug_frame': ['-O2', '-g', '-fno-asynchronous-unwind-tables', '-fno-exceptions', '-fno-unwind-tables'],
}
if os.environ.get('BUILDS'):
    BUILDS = {b: BUILDS[b] for b in os.environ['BUILDS'].split(',')}
GDB = r'''
import gdb
SKIP_TAIL = False
f = gdb.newest_frame()
n = 0
while f and n < 700:
    k = f.type()
    s = f.find_sal()
    name = "<signal handler called>" if k == gdb.SIGTRAMP_FRAME else "(tail)" if k == gdb.TAILCALL_FRAME and SKIP_TAIL else f.name()
    print("FRAME\t%s\t%d\t%d\t%d" % (name or "??", s.line if s.symtab else 0, f.pc(), k == gdb.TAILCALL_FRAME))
    try:
        f = f.older()
    except gdb.error:
        break
    n += 1
'''
tmp = tempfile.mkdtemp()
script = os.path.join(tmp, 'bt.py')
open(script, 'w').write(GDB)

def gdb_frames(cmd, before=()):
    a = ['gdb', '-nx', '-batch', '-ex', 'set debuginfod enabled off', '-ex', 'set print thread-events off', '-ex', 'set breakpoint pending on']
    for s in ('SIGUSR1', 'SIGUSR2', 'SIGALRM', 'SIGCHLD', 'SIGPIPE', '33'):
        a += ['-ex', 'handle %s nostop noprint pass' % s if s != '33' else 'handle SIG33 nostop noprint pass']
    for b in before:
        a += ['-ex', b]
    a += ['-ex', 'run', '-x', script, '--args'] + cmd
    out = subprocess.run(a, capture_output=True, text=True, timeout=120, errors='replace', stdin=subprocess.DEVNULL).stdout
    return [l.split('\t')[1:] for l in out.splitlines() if l.startswith('FRAME\t')]

def our_frames(cmd, env=None):
    rec = os.path.join(tmp, 'rec')
    r = subprocess.run([tool, rec] + cmd, capture_output=True, text=True, timeout=120, errors='replace', stdin=subprocess.DEVNULL, env=env)
    if r.returncode:
        return None, r.stderr
    r = subprocess.run([tool, '-f', rec], capture_output=True, text=True, timeout=60, errors='replace')
    frames = [l.split('\t') for l in r.stdout.splitlines()]
    return frames, r.stderr.strip()

def plain(name):
    """Without parameters, which gdb keeps where it cannot parse a name (lambdas) or has it from a symbol table."""
    for c in (' [clone', '.part.', '.isra.', '.constprop.', '.cold'):
        name = name.split(c)[0]
    if name.startswith('<') or name == 'operator()':
        return name
    name = name.replace('(anonymous namespace)', '{anon}').replace('operator()', 'operator{}').replace('> >', '>>').replace('> >', '>>')
    depth = 0
    for i, c in enumerate(name):
        depth += (c == '<') - (c == '>')
        if c == '(' and depth == 0 and i:
            return name[:i]
    return name

def fold(names):
    """Recursion once, as our reports have it."""
    out = []
    for n in names:
        if len(out) >= 1 and out[-1] == n:
            continue
        out.append(n)
    return out

def aliases(exe):
    """Names of one address are one name: which of them gdb takes hangs on where its strings happen to lie."""
    out = subprocess.run(['nm', exe], capture_output=True, text=True).stdout.split('\n')
    at = {}
    for l in out:
        f = l.split()
        if len(f) == 3 and f[1] in 'TtWiw':
            at.setdefault(f[0], set()).add(f[2])
    res = {}
    for names in at.values():
        for n in names:
            res[plain(n)] = min(plain(x) for x in names)
    return res

def compare(label, cmd, env=None, before=()):
    ours, err = our_frames(cmd, env)
    theirs = gdb_frames(cmd, before)
    if not ours or not theirs:
        return 'no crash' if not ours else 'gdb: none', [err], 0
    o, t = fold([plain(f[0]) for f in ours]), fold([plain(f[0]) for f in theirs])
    ol, tl = [int(f[2]) for f in ours], [int(f[1]) for f in theirs]
    lines = sum(1 for x, y in zip(ol, tl) if x == y)
    ok = o == t or (len(theirs) > 600 and o[:len(t)] == t)
    res = 'equal' if ok else 'DIFFERS'
    if not ok:
        al = aliases(cmd[0])
        if [al.get(x, x) for x in o] == [al.get(x, x) for x in t]:
            return 'equal but for aliases', [], len(t)
    if not ok and o == fold([plain(f[0]) for f in theirs if f[3] == '0']):
        return 'equal but for tail calls', [], len(t)
    if ok and len(ol) == len(tl) and lines != len(tl):
        res = 'equal, %d of %d lines' % (lines, len(tl))
    return res, [] if ok else ['  ours: ' + ' < '.join(o), '  gdb:  ' + ' < '.join(t)], len(t)

def main():
    rows, bad = [], []
    for build, flags in BUILDS.items():
        for src, cc, cl in (('states.c', 'gcc', 'clang'), ('states.cc', 'g++', 'clang++')):
            exe = os.path.join(tmp, build + src.replace('.', '_'))
            comp = [cl, '-O2', '-g'] if flags is None else [cc] + flags
            if build == 'debug_frame' and src == 'states.cc':
                continue
            subprocess.run(comp + ['-w', '-pthread', '-o', exe, os.path.join(here, src)], check=True)
            for st in subprocess.run([exe], capture_output=True, text=True).stdout.split():
                if only and st not in only:
                    continue
                try:
                    res, diff, n = compare(st, [exe, st])
                except subprocess.TimeoutExpired:
                    res, diff, n = 'timeout', [], 0
                rows.append((build, st, n, res))
                print('%-12s %-16s %4d  %s' % rows[-1])
                for d in diff:
                    print(d)
                sys.stdout.flush()
    good = sum(r[3].startswith('equal') for r in rows)
    print('%d of %d equal' % (good, len(rows)))
if __name__ == '__main__':
    main()
