# What type checkers and editors see; `__init__.py` imports the same names when they are used.

from .comparison.comparing import compare as compare
from .language.interface import StructureLanguageModel as StructureLanguageModel
from .models.registry import load_language_model as load_language_model
from .models.registry import load_packer as load_packer
from .models.registry import load_tokenizer as load_tokenizer
from .protein.loading import load_structure as load_structure
from .protein.loading import read_structure as read_structure
from .protein.sequence import parse_sequence as parse_sequence
from .protein.sequence import read_fasta as read_fasta
from .protein.structure import ProteinStructure as ProteinStructure
from .relaxation.relaxing import relax as relax
from .sampling.completion import complete as complete
from .sampling.ensemble import EnsembleGenerator as EnsembleGenerator
from .sampling.ensemble import generate_ensemble as generate_ensemble
from .sampling.result import Ensemble as Ensemble
from .seeding.selecting import select_seeds as select_seeds
from .seeding.simulating import seed_simulations as seed_simulations
from .seeding.writing import write_seeds as write_seeds
from .tokenizer.interface import StructureTokenizer as StructureTokenizer
from .validity.report import geometry_report as geometry_report

__version__: str
