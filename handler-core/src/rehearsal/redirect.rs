//! Redirects, as a browser follows them.

use super::answer::Answer;
use super::ask::Ask;

/// The request that a browser makes after an answer to `ask`, if that is a redirect.
pub(super) fn follow(ask: &mut Ask, answer: &Answer) -> Option<Ask> {
    let location = answer.header("Location").map(|value| String::from_utf8_lossy(value).into_owned());
    let location = location.filter(|_| matches!(answer.status, 301..=303 | 307 | 308))?;
    let keeps = matches!(answer.status, 307 | 308) || ask.method == "HEAD";
    let mut next = Ask::new(if keeps { &ask.method } else { "GET" }, &resolve(&ask.target, &location));
    if keeps {
        next.body = std::mem::take(&mut ask.body);
    }
    next.cookies = std::mem::take(&mut ask.cookies);
    let is_of_body = |name: &[u8]| name.to_ascii_lowercase().starts_with(b"content-");
    let headers = std::mem::take(&mut ask.headers);
    next.headers = headers.into_iter().filter(|(name, _)| keeps || !is_of_body(name)).collect();
    Some(next)
}

/// Where a redirect leads: a path of this site.
fn resolve(from: &str, location: &str) -> String {
    if location.starts_with('/') && !location.starts_with("//") {
        return location.to_owned();
    }
    if let Some((_, rest)) = location.split_once("//") {
        // Another site's address leads to the same path here: there is no other site.
        return rest.find('/').map_or_else(|| "/".to_owned(), |at| rest[at..].to_owned());
    }
    let path = from.split('?').next().unwrap_or_default();
    let folder = path.rfind('/').map_or("/", |end| &path[..=end]);
    format!("{folder}{location}")
}

#[cfg(test)]
mod tests {
    use super::resolve;

    #[test]
    fn a_redirect_leads_to_a_path_of_this_site() {
        assert_eq!(resolve("/a/b?c", "/x?y"), "/x?y");
        assert_eq!(resolve("/a/b?c/d", "x"), "/a/x");
        assert_eq!(resolve("/a", "http://localhost:6767/x"), "/x");
        assert_eq!(resolve("/a", "http://localhost:6767"), "/");
        assert_eq!(resolve("/a", "//other/x"), "/x");
    }
}
