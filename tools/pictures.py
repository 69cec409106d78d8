"""Draw the two pictures of the site that no chapter draws: the icon in the browser's tab, and what is shown where a page is shared.

Usage: python tools/pictures.py
"""
import json
from pathlib import Path

import matplotlib
matplotlib.use('agg')
import matplotlib.pyplot as plt
from matplotlib.patches import Circle

IMAGES = Path(__file__).resolve().parent.parent/'nbs'/'images'
BLUE,ORANGE,DARK = '#2780e3','#ff7518','#1b2733'

def drops(ax):
    "A large model and the small one that learns from it."
    ax.add_patch(Circle((.36, .6), .33, color=BLUE))
    ax.add_patch(Circle((.78, .22), .17, color=ORANGE))
    ax.set(xlim=(0, 1), ylim=(0, 1), aspect='equal')
    ax.axis('off')

def favicon():
    fig = plt.figure(figsize=(1, 1), dpi=64)
    drops(fig.add_axes((0, 0, 1, 1)))
    fig.savefig(IMAGES/'favicon.png', transparent=True, metadata={'Software': None})

def social():
    "1,200 by 630 pixels, as the networks ask for."
    rows = {o['name']: o for o in json.loads((IMAGES.parent.parent/'distil_nb'/'records'/'demo.json').read_text())['results']}
    fig = plt.figure(figsize=(12, 6.3), dpi=100, facecolor=DARK)
    drops(fig.add_axes((.04, .6, .16, .32)))
    fig.text(.22, .74, 'distil_nb', color='white', size=58, weight='bold')
    fig.text(.05, .46, 'Model compression of Hugging Face transformers:', color='white', size=27)
    fig.text(.05, .37, 'a book you can run and a library you can import.', color='white', size=27)
    largest = rows['teacher']['bytes_on_disk']
    for name,words,colour,y in (('teacher', 'teacher', BLUE, .2), ('compressed', 'student, pruned, 4 bits', ORANGE, .1)):
        size,right = rows[name]['bytes_on_disk'],rows[name]['accuracy']
        width = .45*size/largest
        fig.add_artist(plt.Rectangle((.05, y), width, .05, color=colour, transform=fig.transFigure))
        fig.text(.06 + width, y + .008, f'{words}: {size/1e6:.2f} MB, {100*right:.1f} % right', color='white', size=19)
    fig.savefig(IMAGES/'social.png', facecolor=DARK, metadata={'Software': None})

if __name__ == '__main__':
    favicon()
    social()
