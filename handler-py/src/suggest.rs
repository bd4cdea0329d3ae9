//! What was probably meant.

use pyo3::prelude::*;

/// The known word that was probably meant, or `None`.
#[pyfunction]
pub(crate) fn nearest(word: &str, known: Vec<String>) -> Option<String> {
    let distances = known.into_iter().map(|known| (strsim::damerau_levenshtein(word, &known), known));
    distances.filter(|(distance, known)| *distance <= known.len().div_ceil(3)).min().map(|(_, known)| known)
}
