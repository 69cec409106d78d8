"Made texts: what the command writes, what it never writes, and what `distil` makes of it."
import json

import pytest

from conftest import last_json
from distil_nb.data import few_held_out, load_data
from distil_nb.synthesize import check_made
from test_bad_input import refused

pytestmark = pytest.mark.slow  # `make slow`: minutes, in processes of their own or with models that are trained

def test_made_and_used(run, urls, tmp_path):
    "The same seed makes the same file; no text of the data is in it; each row says where it comes from; `distil` takes it."
    out = tmp_path/'made.jsonl'
    status,said,err = run('synthesize', '--teacher', 'sample', '--data', urls, '--count', 40, '--out', out, '--json')
    assert status == 0, err
    made,told,data = [json.loads(o) for o in out.read_text().splitlines()],last_json(said),load_data(str(urls))
    assert told['written'] == len(made) == 40 and told['made'] == told['kept'] + sum(told[o] for o in ('empty_or_long', 'copies', 'doubtful', 'too_many_of_a_class', 'not_needed'))
    assert not {o['text'] for o in made} & {text for split in data.values() for text in split['text']}
    assert all(o['origin'].startswith('trained on') and o['asked'] in (0, 1) and abs(sum(o['probabilities']) - 1) < 1e-3 for o in made)
    refused(run, tmp_path, ['synthesize', '--teacher', 'sample', '--data', urls, '--count', 40, '--out', out], 'exists already')
    assert run('synthesize', '--teacher', 'sample', '--data', urls, '--count', 40, '--out', tmp_path/'again.jsonl')[0] == 0
    assert (tmp_path/'again.jsonl').read_bytes() == out.read_bytes()
    status,_,err = run('distil', '--teacher', 'sample', '--data', urls, '--unlabeled', out, '--epochs', 1, '--out', tmp_path/'student')
    assert status == 0, err

def test_a_planted_test_row_does_not_get_through(rows=60):
    "Exactly, in capitals, and with a letter more."
    import numpy as np
    data = few_held_out(load_data('sample'))
    leaks = [x for o in data['test']['text'][:rows] for x in (o, o.upper(), f'{o}x')]
    known = [text for split in data.values() for text in split['text']]
    left,told = check_made([dict(text=o, asked=0, origin='a leak') for o in leaks], lambda texts: np.zeros((len(texts), 2)), known, 500)
    long = [o for o in left if len(o['text']) > 30]   # in a very short text one letter is more than a fifth of all grams
    assert not long and not {o['text'] for o in left} & set(known) and told['copies'] >= 2*rows

@pytest.mark.parametrize('words,said', [(['--count', 0], ['0 texts']), (['--near', 0], ['near 0']), (['--confidence', 1], ['confidence 1']), (['--temperature', 0], ['temperature']),
    (['--generator', 'sample'], ['no language-model head'])])
def test_bad_amounts(run, tmp_path, urls, words, said): refused(run, tmp_path, ['synthesize', '--teacher', 'sample', '--data', urls, '--out', tmp_path/'made.jsonl', *words], *said)

def test_another_ending(run, tmp_path, urls): refused(run, tmp_path, ['synthesize', '--teacher', 'sample', '--data', urls, '--out', tmp_path/'made.csv'], 'made.csv', '.jsonl')
