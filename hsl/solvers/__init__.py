"""Linear methods as pure functions: a Gram matrix and labels in, coefficients over images out.

The direction of attribute a is ``coefficients[a] @ h``; one Gram matrix serves all attributes.
"""

from hsl.solvers.base import Solution, Solver, subsample
from hsl.solvers.encoding import Encoding
from hsl.solvers.logistic import Logistic
from hsl.solvers.mean import MeanDifference
from hsl.solvers.products import combine, cross, gram
from hsl.solvers.ridge import Ridge
from hsl.solvers.scores import Figures, cross_validated, figures
from hsl.solvers.svm import SVM

__all__ = [
    "SVM",
    "Encoding",
    "Figures",
    "Logistic",
    "MeanDifference",
    "Ridge",
    "Solution",
    "Solver",
    "combine",
    "cross",
    "cross_validated",
    "figures",
    "gram",
    "subsample",
]
