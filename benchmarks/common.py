"What the benchmarks share: options of every command line, and the telling of a record."
import argparse, base64, json, zlib
from pathlib import Path

import numpy as np
from distil_nb.compare import bootstrap_difference as interval  # of hits, `(seeds, rows)` each

def parser(doc:str)->argparse.ArgumentParser:
    "A command line that starts with the benchmark's own first sentence, with `--json` and `--out`."
    p = argparse.ArgumentParser(description=doc.split('\n')[0])
    p.add_argument('--json', action='store_true', help='the last line is one JSON object')
    p.add_argument('--out', type=Path, help='file for the record (JSON)')
    return p

def with_models(p:argparse.ArgumentParser)->argparse.ArgumentParser:
    "`--data` and `--teacher`, which are the sample's if not given."
    p.add_argument('--data', default='sample', help='as for distil-nb: sample, a file or a folder')
    p.add_argument('--teacher', default='sample', help='folder of a float checkpoint')
    return p

def earlier(out:Path|None)->dict:
    "What an earlier run wrote, where there is something."
    return json.loads(out.read_text()) if out and out.exists() else {}

def numbers(text:str)->list[int]:
    "A list in one word of the command line: 1,8,32."
    return [int(o) for o in text.split(',')]

def packed(hits:np.ndarray)->str:
    "Which rows are right, as a word of JSON."
    return base64.b85encode(zlib.compress(np.packbits(hits).tobytes())).decode()

def unpacked(text:str, n:int)->np.ndarray:
    "Rows as `packed` wrote them."
    return np.unpackbits(np.frombuffer(zlib.decompress(base64.b85decode(text)), np.uint8))[:n].astype(bool)
