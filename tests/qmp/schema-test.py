#!/usr/bin/env python3
"""schema-test.py GEN BUILT SOURCE: the generator refuses bad schemas, and the reference page is the one the
schema makes."""
import json
import os
import subprocess
import sys
import tempfile

GEN, BUILT, SOURCE = sys.argv[1:4]
RUN_STATE = {'enum': 'RunState', 'doc': 'd', 'values': {'running': 'd'}}
failed = 0


def check(name, ok, text=''):
    global failed
    failed += not ok
    print('%s %s %s' % ('ok' if ok else 'not ok', name, '' if ok else text))


def gen(*defs):
    with tempfile.TemporaryDirectory() as d:
        path = os.path.join(d, 'x.json')
        with open(path, 'w') as f:
            json.dump({'section': 's', 'doc': 'd', 'schema': [RUN_STATE, *defs]}, f)
        r = subprocess.run([sys.executable, GEN, d, path], capture_output=True, text=True)
        return r.returncode, r.stderr


def struct(member, **more):
    return {'struct': 'S', 'doc': 'd', 'members': {'m': member}, **more}


def main():
    rc, err = gen(struct('str?: d'))
    check('a good schema is taken', rc == 0, err)
    bad = {
        "has no doc": [{'struct': 'S', 'members': {}}],
        "unknown key": [struct('str: d', surplus=1)],
        "member 'm' does not read": [struct('str')],
        "type 'Nope' is not defined": [struct('Nope: d')],
        "bad default of 'm'": [struct('bool=maybe: d')],
        "a range on 'm'": [struct('str in 1..2: d')],
        "bad range of 'm'": [struct('int in 2..1: d')],
        "defined twice": [struct('str: d'), struct('str: d')],
        "has no example": [{'command': 'c', 'doc': 'd'}],
        "no run state 'flying'": [{'command': 'c', 'doc': 'd', 'when': ['flying'],
                                   'example': [{'execute': 'c'}]}],
        "an optional tag needs a default": [struct('str: d'),
                                            {'enum': 'E', 'doc': 'd', 'values': {'a': 'd'}},
                                            {'union': 'U', 'doc': 'd', 'tag': 't',
                                             'members': {'t': 'E?: d'}, 'cases': {'a': 'S: d'}}],
        "case 'a' repeats 'm'": [struct('str: d'),
                                 {'union': 'U', 'doc': 'd', 'tag': 't', 'members': {'m': 'str: d'},
                                  'cases': {'a': 'S: d'}}],
    }
    for text, defs in bad.items():
        rc, err = gen(*defs)
        check('refused: %s' % text, rc == 1 and text in err, 'rc %d: %s' % (rc, err))
    with open(os.path.join(BUILT, 'qmp-reference.md')) as a, \
            open(os.path.join(SOURCE, 'docs/user/qmp-reference.md')) as b:
        check('the reference is current', a.read() == b.read(), "run 'ninja qmp-reference'")
    return failed != 0


sys.exit(main())
