"""Exact nearest neighbours at any size, and which images repeat one another: what the worker and the metrics share."""

from difgen_cli.neighbours.distinct import NEAR_DUPLICATE as NEAR_DUPLICATE
from difgen_cli.neighbours.distinct import Repeats as Repeats
from difgen_cli.neighbours.distinct import distinct as distinct
from difgen_cli.neighbours.distinct import groups as groups
from difgen_cli.neighbours.distinct import near_duplicates as near_duplicates
from difgen_cli.neighbours.distinct import related as related
from difgen_cli.neighbours.search import choose_with as choose_with
from difgen_cli.neighbours.search import flat as flat
from difgen_cli.neighbours.search import mirror as mirror
from difgen_cli.neighbours.search import nearer as nearer
from difgen_cli.neighbours.search import nearest as nearest
from difgen_cli.neighbours.search import with_mirrors as with_mirrors
