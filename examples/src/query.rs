//! Numbers in the query: all that these programs take from it.

use http::Uri;

/// The number `name=N` in the query, if there is one.
pub(crate) fn number(uri: &Uri, name: &str) -> Option<u64> {
    let pairs = uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.into_iter().find(|(key, _)| *key == name)?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_found_by_its_whole_name() {
        let uri: Uri = "/wait?mms=1&ms=250&ms=7".parse().unwrap();
        assert_eq!(number(&uri, "ms"), Some(250));
        assert_eq!(number(&uri, "s"), None);
        assert_eq!(number(&"/wait?ms=soon".parse().unwrap(), "ms"), None);
        assert_eq!(number(&"/wait".parse().unwrap(), "ms"), None);
    }
}
