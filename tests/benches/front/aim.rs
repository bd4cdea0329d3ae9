//! What must be reached, and whether it was.

/// Counts what was missed.
#[derive(Debug, Default)]
pub(super) struct Aims {
    pub(super) missed: usize,
}

impl Aims {
    pub(super) fn at_most(&mut self, what: &str, found: f64, most: f64) {
        self.note(found <= most, &format!("{what}: {found:.2}, at most {most:.2}"));
    }

    pub(super) fn at_least(&mut self, what: &str, found: f64, least: f64) {
        self.note(found >= least, &format!("{what}: {found:.2}, at least {least:.2}"));
    }

    fn note(&mut self, is_met: bool, text: &str) {
        self.missed += usize::from(!is_met);
        println!("  {}: {text}", if is_met { "met" } else { "missed" });
    }
}

/// The one in the middle.
pub(super) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures[figures.len() / 2]
}
