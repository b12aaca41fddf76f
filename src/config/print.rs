//! The effective configuration as a TOML file that names the source of every value.

use std::fmt::Write as _;

use super::{
    Resolved,
    settings::{SECTIONS, SETTINGS},
};

/// Writes it. Secrets are masked; everything else could be used as a file again.
pub(crate) fn effective(resolved: &Resolved) -> String {
    let mut page = String::new();
    for (section, about) in SECTIONS {
        if !page.is_empty() {
            page.push('\n');
        }
        let _ = writeln!(page, "# {about}");
        if !section.is_empty() {
            let _ = writeln!(page, "[{section}]");
        }
        for setting in SETTINGS.iter().filter(|one| one.section() == *section) {
            let (value, source) = resolved.get(setting.key);
            let printed = setting.kind.print(value);
            let _ = writeln!(page, "{} = {printed} # {source}", setting.name());
        }
    }
    page
}
