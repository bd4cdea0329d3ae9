//! The few facts that we read from a certificate ourselves: when it is valid, and its public key.
//!
//! The library verifies chains, but says neither when a certificate expires nor anything about version 1 certificates,
//! which Mongrel2 accepts as a server's own.

use std::ops::Range;

const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// The version, which version 1 leaves out.
const VERSION: u8 = 0xa0;

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    /// From when to when it is valid, in seconds since 1970, both included.
    pub(crate) not_before: i64,
    pub(crate) not_after: i64,
    /// The bytes of its SubjectPublicKeyInfo, with tag and length.
    pub(crate) public_key: Range<usize>,
}

impl Facts {
    /// Reads a certificate in DER; `None` if it is not one.
    pub(crate) fn read(certificate: &[u8]) -> Option<Self> {
        let mut outer = Reader { all: certificate, rest: 0..certificate.len() };
        let mut whole = outer.enter(SEQUENCE)?;
        let mut body = whole.enter(SEQUENCE)?;
        if body.peek() == Some(VERSION) {
            body.next()?;
        }
        // Serial number, algorithm of the signature, issuer.
        for _ in 0..3 {
            body.next()?;
        }
        let mut validity = body.enter(SEQUENCE)?;
        let (not_before, not_after) = (validity.time()?, validity.time()?);
        // Subject.
        body.next()?;
        let (tag, element, _) = body.next()?;
        (tag == SEQUENCE).then_some(Self { not_before, not_after, public_key: element })
    }

    /// Why it is not valid now; `None` if it is.
    pub(crate) fn why_not_valid(&self, now: i64) -> Option<String> {
        if now > self.not_after {
            Some(format!("expired on {}", date(self.not_after)))
        } else if now < self.not_before {
            Some(format!("is not valid before {}", date(self.not_before)))
        } else {
            None
        }
    }
}

struct Reader<'a> {
    all: &'a [u8],
    rest: Range<usize>,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.all.get(self.rest.clone())?.first().copied()
    }

    /// One element: its tag, where all of it is, and where its content is.
    fn next(&mut self) -> Option<(u8, Range<usize>, Range<usize>)> {
        let bytes = self.all.get(self.rest.clone())?;
        let (tag, first) = (*bytes.first()?, usize::from(*bytes.get(1)?));
        let (head, length) = match first {
            0..=127 => (2, first),
            // Four bytes of length are more than any certificate has.
            0x81..=0x84 => {
                let count = first - 0x80;
                let digits = bytes.get(2..2 + count)?;
                (2 + count, digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)))
            }
            _ => return None,
        };
        let end = head.checked_add(length).filter(|end| *end <= bytes.len())?;
        let start = self.rest.start;
        self.rest.start = start + end;
        Some((tag, start..start + end, start + head..start + end))
    }

    fn enter(&mut self, expected: u8) -> Option<Self> {
        let all = self.all;
        let (tag, _, content) = self.next()?;
        (tag == expected).then_some(Self { all, rest: content })
    }

    fn time(&mut self) -> Option<i64> {
        let (tag, _, content) = self.next()?;
        let text = std::str::from_utf8(self.all.get(content)?).ok()?;
        let digits =
            text.strip_suffix('Z').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
        let (year, rest) = match (tag, digits.len()) {
            (UTC_TIME, 12) => {
                let year: i64 = digits[..2].parse().ok()?;
                (if year < 50 { 2000 + year } else { 1900 + year }, &digits[2..])
            }
            (GENERALIZED_TIME, 14) => (digits[..4].parse().ok()?, &digits[4..]),
            _ => return None,
        };
        let part = |at: usize| rest[at..at + 2].parse::<i64>().ok();
        let (month, day) = (part(0)?, part(2)?);
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return None;
        }
        Some(days(year, month, day) * 86_400 + part(4)? * 3600 + part(6)? * 60 + part(8)?)
    }
}

/// Days since 1970-01-01 in the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March, so that the leap day is the last one.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// `2026-11-30`.
pub(super) fn date(seconds: i64) -> String {
    let days = seconds.div_euclid(86_400) + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_are_each_others_inverse() {
        assert_eq!(days(1970, 1, 1), 0);
        assert_eq!(days(2000, 3, 1), 11_017);
        assert_eq!(date(951_782_400), "2000-02-29");
        assert_eq!(date(-1), "1969-12-31");
        for day in (-200_000..400_000).step_by(37) {
            let text = date(day * 86_400);
            let mut parts = text.split('-').map(|part| part.parse().unwrap());
            let mut part = || parts.next().unwrap();
            assert_eq!(days(part(), part(), part()), day, "{text}");
        }
    }

    #[test]
    fn times_of_both_kinds_are_read() {
        let time = |tag, text: &str| {
            let bytes = [&[tag, text.len() as u8], text.as_bytes()].concat();
            Reader { all: &bytes, rest: 0..bytes.len() }.time()
        };
        assert_eq!(time(UTC_TIME, "700101000000Z"), Some(0));
        assert_eq!(time(UTC_TIME, "491231235959Z"), Some(2_524_607_999));
        assert_eq!(time(UTC_TIME, "500101000000Z"), Some(-631_152_000));
        assert_eq!(time(GENERALIZED_TIME, "20500101000000Z"), Some(2_524_608_000));
        for wrong in
            ["", "Z", "700101000000", "70010100000Z", "701301000000Z", "70-101000000Z", "7001010000é0"]
        {
            assert_eq!(time(UTC_TIME, wrong), None, "{wrong}");
        }
    }

    #[test]
    fn any_bytes_are_survived() {
        let mut chance = fastrand::Rng::with_seed(7);
        for _ in 0..20_000 {
            let mut bytes = vec![0; chance.usize(0..60)];
            chance.fill(&mut bytes);
            for byte in &mut bytes {
                if chance.bool() {
                    *byte = *chance.choice(&[SEQUENCE, VERSION, UTC_TIME, 0x84, 0xff, 13, 2]).unwrap();
                }
            }
            let _ = Facts::read(&bytes);
        }
    }
}
