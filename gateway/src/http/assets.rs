//! The page and the SDK, inside the binary. The table is written by `build.rs`.

/// One file.
#[derive(Debug)]
pub(super) struct Asset {
    /// Path below `/assets/`.
    pub(super) name: &'static str,
    pub(super) content_type: &'static str,
    /// Hash of the content, in quotes.
    pub(super) etag: &'static str,
    pub(super) bytes: &'static [u8],
}

/// All files, sorted by name.
static ASSETS: &[Asset] = include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// What `GET /` answers.
const PAGE: &str = "web/index.html";

/// The file of that name.
pub(super) fn find(name: &str) -> Option<&'static Asset> {
    ASSETS
        .binary_search_by(|asset| asset.name.cmp(name))
        .ok()
        .map(|index| &ASSETS[index])
}

/// The chat page.
pub(super) fn page() -> Option<&'static Asset> {
    find(PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assets_are_sorted_typed_and_without_tests() {
        assert!(ASSETS.is_sorted_by_key(|asset| asset.name));
        for asset in ASSETS {
            assert!(!asset.name.contains("test"), "{}", asset.name);
            assert!(!asset.bytes.is_empty(), "{}", asset.name);
            assert_eq!(
                find(asset.name).map(|found| found.etag),
                Some(asset.etag),
                "{}",
                asset.name
            );
        }
        assert!(find("web/none.js").is_none());
    }

    /// The page must not name a file the binary does not carry.
    #[test]
    fn page_refers_only_to_assets_that_exist() {
        let page = page().expect("clients/web/index.html is there");
        let page = std::str::from_utf8(page.bytes).unwrap();
        let named: Vec<&str> = page
            .split('"')
            .filter_map(|text| text.strip_prefix("/assets/"))
            .collect();
        assert!(!named.is_empty());
        for name in named {
            assert!(find(name).is_some(), "{name}");
        }
    }
}
