//! Dates as HTTP writes them (RFC 9110, 5.6.7), whole seconds since 1970.

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The date of a second since 1970: `Sun, 06 Nov 1994 08:49:37 GMT`.
pub fn format(unix_seconds: u64) -> String {
    let (days, second) = (unix_seconds / 86_400, unix_seconds % 86_400);
    let (year, month, day) = civil(days);
    format!(
        "{}, {day:02} {} {year} {:02}:{:02}:{:02} GMT",
        DAYS[(days % 7) as usize],
        MONTHS[month as usize - 1],
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

/// The second since 1970 that a date names, in any of the three forms that a recipient has to know. `None` when it
/// is in none of them, or names a day that there is not, or one before 1970. The day's name is not looked at.
pub fn parse(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?.trim_matches([' ', '\t']);
    if text.len() > 40 {
        return None;
    }
    let mut words = text.split_ascii_whitespace();
    let first = words.next()?;
    let rest: Vec<&str> = words.take(6).collect();
    let (day, month, year, time) = match (first.ends_with(','), &rest[..]) {
        // Sun, 06 Nov 1994 08:49:37 GMT
        (true, [day, month, year, time, "GMT"]) => (*day, *month, number(year, 4)?, *time),
        // Sunday, 06-Nov-94 08:49:37 GMT
        (true, [date, time, "GMT"]) => {
            let mut parts = date.splitn(3, '-');
            let (day, month, year) = (parts.next()?, parts.next()?, number(parts.next()?, 2)?);
            // Two digits mean the year that is nearest (RFC 9110: not more than 50 years ahead); 70 is the first.
            (day, month, if year >= 70 { 1900 + year } else { 2000 + year }, *time)
        }
        // Sun Nov  6 08:49:37 1994
        (false, [month, day, time, year]) => (*day, *month, number(year, 4)?, *time),
        _ => return None,
    };
    let day = number(day, 2).or_else(|| number(day, 1))?;
    let month = MONTHS.iter().position(|name| *name == month)? as u64 + 1;
    let mut clock = time.splitn(3, ':').map(|part| number(part, 2));
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    // A leap second is the last one of its minute, once more.
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let days = days_of(year, month, day).filter(|days| civil(*days) == (year, month, day))?;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second.min(59))
}

/// A number of exactly so many digits.
fn number(text: &str, digits: usize) -> Option<u64> {
    let whole = text.len() == digits && text.bytes().all(|b| b.is_ascii_digit());
    whole.then(|| text.parse().ok()).flatten()
}

/// Year, month (1..) and day (1..) of a day counted from 1970. Years are counted from March, so that the day which
/// comes every four years is the last of its year.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + u64::from(month <= 2), month, day)
}

/// The other way round; `None`: before 1970. A day beyond its month's end gives one of the next month.
fn days_of(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1..=31).contains(&day) {
        return None;
    }
    let year = if month <= 2 { year.checked_sub(1)? } else { year };
    let month = if month > 2 { month - 3 } else { month + 9 };
    let (era, year) = (year / 400, year % 400);
    let day = year * 365 + year / 4 - year / 100 + (153 * month + 2) / 5 + day - 1;
    (era * 146_097 + day).checked_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (second, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_735_689_599, "Tue, 31 Dec 2024 23:59:59 GMT"),
        ] {
            assert_eq!(format(second), text);
            assert_eq!(parse(text.as_bytes()), Some(second));
        }
    }

    #[test]
    fn every_day_comes_back_as_it_was_written() {
        for day in 0..60_000 {
            let second = day * 86_400 + day % 86_400;
            assert_eq!(parse(format(second).as_bytes()), Some(second));
        }
    }

    #[test]
    fn the_two_old_forms_are_understood() {
        for text in ["Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
            assert_eq!(parse(text.as_bytes()), Some(784_111_777), "{text}");
        }
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in [
            "",
            "now",
            "784111777",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 31 Feb 1994 08:49:37 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "Sun, 06 Nov 1994 8:49:37 GMT",
            "Sun, 06 Nov 1994 08:49 GMT",
            "Sun, 06 Nov 1969 08:49:37 GMT",
            "Sun, 06 Brumaire 1994 08:49:37 GMT",
            "Sun, +6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse(b"Sun, 06 Nov 1994 08:49:37 GMT\xff"), None);
    }
}
