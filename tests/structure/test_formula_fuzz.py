"""Formulas and ranges: what is understood comes back the same; everything else is refused in one line."""

from ase.data import chemical_symbols
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gendesign.errors import UserError
from gendesign.structure.formula import hill_formula, parse_formula, parse_range

QUICK = settings(max_examples=300, deadline=None, derandomize=True)
COUNTS = st.dictionaries(st.sampled_from(chemical_symbols[1:119]), st.integers(1, 10**6), min_size=1, max_size=8)


@QUICK
@given(COUNTS)
def test_formulas_come_back(counts):
    assert parse_formula(hill_formula(counts)) == counts


@QUICK
@given(st.one_of(st.text(max_size=12), st.text("CHNOClBr0123456789() ", max_size=12)))
@example("C" * 5000)
@example("(" * 2000 + "C" + ")" * 2000)
@example("C99999999999999999999999")
@example("C٣")
@example("C0")
def test_any_text_is_a_formula_or_refused(text):
    try:
        counts = parse_formula(text)
    except UserError as error:
        assert str(error).count("\n") == 0
    else:
        assert counts and parse_formula(hill_formula(counts)) == counts


@QUICK
@given(st.one_of(st.text(max_size=8), st.text("0123456789- .", max_size=8), st.integers(), st.booleans(), st.none()))
@example("5-12")
@example("٣-٤")
def test_any_range_is_ordered_or_refused(value):
    try:
        low, high = parse_range(value)
    except UserError as error:
        assert str(error).count("\n") == 0
    else:
        assert 1 <= low <= high and (str(low) in str(value) or low == int(str(value).split("-")[0]))
