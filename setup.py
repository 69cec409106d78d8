"Package metadata and requirements come from settings.ini; the version from `distil_nb/__init__.py`."
import re
from configparser import ConfigParser
from pathlib import Path
from setuptools import find_packages, setup

here = Path(__file__).parent
config = ConfigParser(delimiters=['='])
config.read(here/'settings.ini', encoding='utf-8')
settings = config['DEFAULT']
lines = lambda key: settings[key].split('\n')[1:]
extras = {o: lines(f'{o}_requirements') for o in ('onnx', 'nf4')}

setup(
    version=re.search(r'__version__ = "(.+)"', (here/'distil_nb'/'__init__.py').read_text(encoding='utf-8'))[1],
    description=settings['description'],
    author=settings['authors'],
    license=settings['license'],
    keywords=settings['keywords'].split(', '),
    python_requires='>=' + settings['min_python'],
    install_requires=lines('requirements'),
    extras_require=extras | dict(dev=sum(extras.values(), lines('dev_requirements'))),
    packages=find_packages(include=['distil_nb']),
    package_data=dict(distil_nb=['sample_teacher/*', 'sample_student/*', 'records/*.json', 'templates/*', '*.mplstyle']),
)
