//! The keys that tokens are checked with.
//!
//! Written as `[[auth.keys]]` tables in the file, or as one TOML list of tables in the environment.
//! Here the tables are read, and files beside them; whether a key is good for its algorithm says
//! `GatewayConfig::validate`.

use std::{fs, path::Path};

use rookery_gateway::auth::{Algorithm, KeyConfig, Secret};

use super::{
    suggest,
    value::{Flaw, Raw, inline, quoted},
};

const FIELDS: [&str; 7] = [
    "alg",
    "kid",
    "secret",
    "secret_base64",
    "secret_file",
    "public_key_pem",
    "public_key_file",
];
const ALGORITHMS: [Algorithm; 4] = [
    Algorithm::HS256,
    Algorithm::RS256,
    Algorithm::ES256,
    Algorithm::EdDSA,
];

/// The algorithm of that name.
pub(crate) fn algorithm(name: &str) -> Option<Algorithm> {
    ALGORITHMS.into_iter().find(|known| known.name() == name)
}

/// Reads the list.
///
/// # Errors
/// All flaws of all keys.
pub(super) fn read(raw: &Raw) -> Result<Vec<KeyConfig>, Vec<Flaw>> {
    // The value may hold a secret, so it is never shown.
    let no = || vec![Flaw::whole("is not a list of tables")];
    let list = match raw {
        Raw::Text(text) if text.trim().is_empty() => return Ok(Vec::new()),
        Raw::Text(text) => inline(text).ok_or_else(no)?,
        Raw::Toml(value) => value.clone(),
    };
    let mut flaws = Vec::new();
    let mut keys: Vec<KeyConfig> = Vec::new();
    for (index, item) in list.as_array().ok_or_else(no)?.iter().enumerate() {
        let Some(table) = item.as_table() else {
            flaws.push(Flaw::of(format!("[{index}]"), "is not a table"));
            continue;
        };
        if let Some(key) = read_one(index, table, &mut flaws) {
            if let Some(kid) = &key.kid
                && keys.iter().any(|other| other.kid == key.kid)
            {
                let message = format!("another key has the kid {} too", quoted(kid));
                flaws.push(Flaw::of(format!("[{index}].kid"), message));
            }
            keys.push(key);
        }
    }
    if flaws.is_empty() {
        Ok(keys)
    } else {
        Err(flaws)
    }
}

/// The list as TOML, secrets masked.
pub(super) fn print(keys: &[KeyConfig]) -> String {
    let tables: Vec<_> = keys
        .iter()
        .map(|key| {
            let kid = key
                .kid
                .as_ref()
                .map(|kid| format!(", kid = {}", quoted(kid)));
            let material = match &key.public_key_pem {
                Some(pem) => format!("public_key_pem = {}", one_line(pem)),
                None => "secret = \"***\"".to_owned(),
            };
            let alg = quoted(key.alg.name());
            format!("{{ alg = {alg}{}, {material} }}", kid.unwrap_or_default())
        })
        .collect();
    format!("[{}]", tables.join(", "))
}

/// A TOML string without line breaks, so that it fits an inline table.
fn one_line(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", escaped.replace('\r', "\\r").replace('\n', "\\n"))
}

/// Reads one table; adds what is wrong with it to `flaws`.
fn read_one(index: usize, table: &toml::Table, flaws: &mut Vec<Flaw>) -> Option<KeyConfig> {
    let before = flaws.len();
    let at = |field: &str| format!("[{index}].{field}");
    for (field, value) in table {
        if !FIELDS.contains(&field.as_str()) {
            let meant = suggest::nearest(field, FIELDS.into_iter())
                .map(|name| format!("; did you mean {}?", quoted(name)));
            let message = format!("no such field{}", meant.unwrap_or_default());
            flaws.push(Flaw::of(at(field), message));
        } else if !value.is_str() {
            flaws.push(Flaw::of(at(field), "is not a text"));
        }
    }
    let text = |field: &str| Some(table.get(field)?.as_str()?.to_owned());
    let alg = text("alg").as_deref().and_then(algorithm);
    match text("alg") {
        Some(name) if alg.is_none() => {
            let known = ALGORITHMS.map(|known| quoted(known.name())).join(", ");
            let message = format!("{} is not one of {known}", quoted(&name));
            flaws.push(Flaw::of(at("alg"), message));
        }
        None if !table.contains_key("alg") => flaws.push(Flaw::of(at("alg"), "is missing")),
        _ => {}
    }
    let mut or_file = |field: &str, file_field: &str| match (text(field), text(file_field)) {
        (Some(_), Some(_)) => {
            let message = format!("give {field} or {file_field}, not both");
            flaws.push(Flaw::of(at(field), message));
            None
        }
        (None, Some(file)) => match read_file(Path::new(&file)) {
            Ok(content) => Some(content),
            Err(message) => {
                flaws.push(Flaw::of(at(file_field), message));
                None
            }
        },
        (given, None) => given,
    };
    let secret = or_file("secret", "secret_file").map(Secret::new);
    let public_key_pem = or_file("public_key_pem", "public_key_file");
    (flaws.len() == before).then_some(())?;
    Some(KeyConfig {
        alg: alg?,
        kid: text("kid"),
        secret,
        secret_base64: text("secret_base64").map(Secret::new),
        public_key_pem,
    })
}

/// Reads a key file; one line break at its end is not part of a secret.
fn read_file(path: &Path) -> Result<String, String> {
    let shown = quoted(&path.to_string_lossy());
    let content =
        fs::read_to_string(path).map_err(|error| format!("cannot read {shown}: {error}"))?;
    Ok(without_line_break(&content).to_owned())
}

/// Cuts one line break at the end.
pub(crate) fn without_line_break(text: &str) -> &str {
    let cut = text.strip_suffix('\n').unwrap_or(text);
    cut.strip_suffix('\r').unwrap_or(cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn check(text: &str) -> Result<Vec<KeyConfig>, Vec<(String, String)>> {
        let flaws = |flaws: Vec<Flaw>| flaws.into_iter().map(|f| (f.part, f.message)).collect();
        read(&Raw::Text(text.to_owned())).map_err(flaws)
    }

    #[test]
    fn keys_of_both_sorts_are_read_and_printed_without_the_secret() {
        let text = format!(
            "[{{ kid = \"a\", alg = \"HS256\", secret = \"{SECRET}\" }}, \
             {{ alg = \"EdDSA\", public_key_pem = \"-----BEGIN\\nX\\n\" }}]"
        );
        let keys = check(&text).expect("both are sound");
        assert_eq!(keys.len(), 2);
        assert_eq!(keys[0].secret.as_ref().map(Secret::reveal), Some(SECRET));
        let printed = print(&keys);
        assert!(!printed.contains(SECRET), "{printed}");
        assert!(printed.contains("***"), "{printed}");
        assert!(inline(&printed).is_some(), "{printed}");
        assert!(!format!("{keys:?}").contains(SECRET));
    }

    #[test]
    fn a_secret_file_loses_its_last_line_break_only() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), format!(" {SECRET}\n")).unwrap();
        let path = quoted(&file.path().to_string_lossy());
        let keys = check(&format!("[{{ alg = \"HS256\", secret_file = {path} }}]")).expect("sound");
        let expected = format!(" {SECRET}");
        assert_eq!(
            keys[0].secret.as_ref().map(Secret::reveal),
            Some(expected.as_str())
        );
    }

    #[test]
    fn every_flaw_is_found_and_no_secret_is_shown() {
        let text = "[{ alg = \"HS256\", secret = \"hunter2\", colour = \"red\" }, \
                     { alg = \"none\", secret = \"hunter2\" }, \
                     { secret = \"hunter2\" }, \
                     { kid = \"x\", alg = \"HS256\", secert = \"hunter2\" }, \
                     { alg = \"HS256\", secret = 5 }, \
                     { alg = \"HS256\", secret = \"hunter2\", secret_file = \"/none\" }, \
                     { alg = \"HS256\", secret_file = \"/nonexistent/key\" }, \
                     7]";
        let flaws = check(text).expect_err("many flaws");
        let shown = format!("{flaws:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
        for (part, words) in [
            ("[0].colour", "no such field"),
            ("[1].alg", "\"none\" is not one of"),
            ("[2].alg", "is missing"),
            ("[3].secert", "did you mean \"secret\""),
            ("[4].secret", "is not a text"),
            ("[5].secret", "not both"),
            ("[6].secret_file", "cannot read"),
            ("[7]", "is not a table"),
        ] {
            let found = flaws.iter().any(|(p, m)| p == part && m.contains(words));
            assert!(found, "{part}: {words} in {shown}");
        }
    }

    #[test]
    fn two_keys_of_one_kid_are_refused_and_two_without_are_not() {
        let named = format!("{{ kid = \"a\", alg = \"HS256\", secret = \"{SECRET}\" }}");
        let flaws = check(&format!("[{named}, {named}]")).expect_err("same kid");
        assert_eq!(flaws[0].0, "[1].kid");
        let unnamed = format!("{{ alg = \"HS256\", secret = \"{SECRET}\" }}");
        assert_eq!(
            check(&format!("[{unnamed}, {unnamed}]"))
                .expect("sound")
                .len(),
            2
        );
    }
}
