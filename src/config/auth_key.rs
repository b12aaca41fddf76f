//! The keys that tokens are checked with.
//!
//! Written as `[[auth.keys]]` tables in the file, or as one TOML list of tables in the environment.
//! Everything that is wrong with them is found here, before anything starts.

use std::{fmt, fs, path::Path};

use jsonwebtoken::{Algorithm, DecodingKey};

use super::{
    suggest,
    value::{Flaw, Raw, inline, quoted},
};

/// Bytes an HS256 secret must have: the size of the hash (RFC 7518, 3.2).
pub(crate) const SECRET_BYTES_MIN: usize = 32;

const FIELDS: [&str; 6] = [
    "id",
    "algorithm",
    "secret",
    "secret_file",
    "public_key",
    "public_key_file",
];
const ALGORITHMS: [(&str, Algorithm); 4] = [
    ("HS256", Algorithm::HS256),
    ("RS256", Algorithm::RS256),
    ("ES256", Algorithm::ES256),
    ("EdDSA", Algorithm::EdDSA),
];

/// One key. Its `Debug` shows no secret.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct AuthKey {
    /// Matched with a token's `kid`. Empty: tried for tokens without one.
    pub(crate) id: String,
    /// The only algorithm it is used with.
    pub(crate) algorithm: Algorithm,
    /// The secret of HS256, else the public key as PEM.
    pub(crate) material: Vec<u8>,
}

impl AuthKey {
    /// Its algorithm as written in configuration.
    pub(crate) fn algorithm_name(&self) -> &'static str {
        let found = ALGORITHMS.iter().find(|(_, a)| *a == self.algorithm);
        found.map_or("unknown", |(name, _)| name)
    }
}

impl fmt::Debug for AuthKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthKey")
            .field("id", &self.id)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// The algorithm of that name.
pub(crate) fn algorithm(name: &str) -> Option<Algorithm> {
    let found = ALGORITHMS.iter().find(|(known, _)| *known == name);
    found.map(|(_, algorithm)| *algorithm)
}

/// Reads the list.
///
/// # Errors
/// All flaws of all keys.
pub(super) fn read(raw: &Raw) -> Result<Vec<AuthKey>, Vec<Flaw>> {
    // The value may hold a secret, so it is never shown.
    let no = || vec![Flaw::whole("is not a list of tables")];
    let list = match raw {
        Raw::Text(text) if text.trim().is_empty() => return Ok(Vec::new()),
        Raw::Text(text) => inline(text).ok_or_else(no)?,
        Raw::Toml(value) => value.clone(),
    };
    let mut flaws = Vec::new();
    let mut keys: Vec<AuthKey> = Vec::new();
    for (index, item) in list.as_array().ok_or_else(no)?.iter().enumerate() {
        let Some(table) = item.as_table() else {
            flaws.push(Flaw::of(format!("[{index}]"), "is not a table"));
            continue;
        };
        if let Some(key) = read_one(index, table, &mut flaws) {
            if !key.id.is_empty() && keys.iter().any(|other| other.id == key.id) {
                let message = format!("another key has the id {} too", quoted(&key.id));
                flaws.push(Flaw::of(format!("[{index}].id"), message));
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
pub(super) fn print(keys: &[AuthKey]) -> String {
    let tables: Vec<_> = keys
        .iter()
        .map(|key| {
            let material = match key.algorithm {
                Algorithm::HS256 => "secret = \"***\"".to_owned(),
                _ => {
                    let pem = String::from_utf8_lossy(&key.material);
                    format!("public_key = {}", one_line(&pem))
                }
            };
            format!(
                "{{ id = {}, algorithm = {}, {material} }}",
                quoted(&key.id),
                quoted(key.algorithm_name())
            )
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
fn read_one(index: usize, table: &toml::Table, flaws: &mut Vec<Flaw>) -> Option<AuthKey> {
    let before = flaws.len();
    let at = |field: &str| format!("[{index}].{field}");
    for (field, value) in table {
        if !FIELDS.contains(&field.as_str()) {
            let meant = suggest::nearest(field, FIELDS.into_iter())
                .map(|name| format!("; did you mean {}?", quoted(name)));
            flaws.push(Flaw::of(
                at(field),
                format!("no such field{}", meant.unwrap_or_default()),
            ));
        } else if !value.is_str() {
            flaws.push(Flaw::of(at(field), "is not a text"));
        }
    }
    let text = |field: &str| table.get(field).and_then(toml::Value::as_str);
    let algorithm = match text("algorithm") {
        Some(name) => {
            let known = algorithm(name);
            if known.is_none() {
                let message = format!(
                    "{} is not one of \"HS256\", \"RS256\", \"ES256\", \"EdDSA\"",
                    quoted(name)
                );
                flaws.push(Flaw::of(at("algorithm"), message));
            }
            known
        }
        None if table.contains_key("algorithm") => None,
        None => {
            flaws.push(Flaw::of(at("algorithm"), "is missing"));
            None
        }
    };
    let algorithm = algorithm?;
    let (wanted, wanted_file, other, other_file) = match algorithm {
        Algorithm::HS256 => ("secret", "secret_file", "public_key", "public_key_file"),
        _ => ("public_key", "public_key_file", "secret", "secret_file"),
    };
    for field in [other, other_file] {
        if table.contains_key(field) {
            let name = text("algorithm").unwrap_or_default();
            flaws.push(Flaw::of(
                at(field),
                format!("does not go with {name}, which wants {wanted}"),
            ));
        }
    }
    let material = match (text(wanted), text(wanted_file)) {
        (Some(_), Some(_)) => Err(format!("give {wanted} or {wanted_file}, not both")),
        (Some(given), None) => Ok(given.as_bytes().to_vec()),
        (None, Some(file)) => read_file(Path::new(file)),
        (None, None) => Err(format!("is missing (or {wanted_file})")),
    };
    match material.and_then(|material| check_material(algorithm, material)) {
        Ok(material) if flaws.len() == before => Some(AuthKey {
            id: text("id").unwrap_or_default().to_owned(),
            algorithm,
            material,
        }),
        Ok(_) => None,
        Err(message) => {
            flaws.push(Flaw::of(at(wanted), message));
            None
        }
    }
}

/// Reads a key file; one line break at its end is not part of a secret.
fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = fs::read(path)
        .map_err(|error| format!("cannot read {}: {error}", quoted(&path.to_string_lossy())))?;
    for end in [b'\n', b'\r'] {
        if bytes.last() == Some(&end) {
            bytes.pop();
        }
    }
    Ok(bytes)
}

fn check_material(algorithm: Algorithm, material: Vec<u8>) -> Result<Vec<u8>, String> {
    let sound = match algorithm {
        Algorithm::HS256 if material.len() < SECRET_BYTES_MIN => {
            return Err(format!(
                "has {} bytes; HS256 wants at least {SECRET_BYTES_MIN} (try: openssl rand -hex 32)",
                material.len()
            ));
        }
        Algorithm::HS256 => Ok(()),
        Algorithm::RS256 => DecodingKey::from_rsa_pem(&material).map(drop),
        Algorithm::ES256 => DecodingKey::from_ec_pem(&material).map(drop),
        _ => DecodingKey::from_ed_pem(&material).map(drop),
    };
    match sound {
        Ok(()) => Ok(material),
        Err(_) => Err("is not a public key of that algorithm in PEM".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";
    const ED_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\\n-----END PUBLIC KEY-----\\n";

    fn check(text: &str) -> Result<Vec<AuthKey>, Vec<(String, String)>> {
        let flaws = |flaws: Vec<Flaw>| flaws.into_iter().map(|f| (f.part, f.message)).collect();
        read(&Raw::Text(text.to_owned())).map_err(flaws)
    }

    #[test]
    fn keys_of_both_sorts_are_read_and_printed_without_the_secret() {
        let text = format!(
            "[{{ id = \"a\", algorithm = \"HS256\", secret = \"{SECRET}\" }}, \
             {{ id = \"b\", algorithm = \"EdDSA\", public_key = \"{ED_PUBLIC}\" }}]"
        );
        let keys = check(&text).expect("both are sound");
        assert_eq!(keys.len(), 2);
        assert_eq!(keys[0].material, SECRET.as_bytes());
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
        let text = format!(
            "[{{ algorithm = \"HS256\", secret_file = {} }}]",
            quoted(&file.path().to_string_lossy())
        );
        let keys = check(&text).expect("sound");
        assert_eq!(keys[0].material, format!(" {SECRET}").as_bytes());
    }

    #[test]
    fn every_flaw_is_found_and_no_secret_is_shown() {
        let text = format!(
            "[{{ algorithm = \"HS256\", secret = \"hunter2\", colour = \"red\" }}, \
              {{ algorithm = \"none\", secret = \"{SECRET}\" }}, \
              {{ secret = \"{SECRET}\" }}, \
              {{ id = \"x\", algorithm = \"RS256\", public_key = \"hunter2\", secert = \"y\" }}, \
              {{ algorithm = \"HS256\", secret = 5 }}, \
              7]"
        );
        let flaws = check(&text).expect_err("many flaws");
        let shown = format!("{flaws:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
        for (part, words) in [
            ("[0].colour", "no such field"),
            ("[0].secret", "has 7 bytes"),
            ("[1].algorithm", "not one of"),
            ("[2].algorithm", "is missing"),
            ("[3].secert", "did you mean \"secret\""),
            ("[3].public_key", "not a public key"),
            ("[4].secret", "is not a text"),
            ("[5]", "is not a table"),
        ] {
            let found = flaws.iter().any(|(p, m)| p == part && m.contains(words));
            assert!(found, "{part}: {words} in {shown}");
        }
    }

    #[test]
    fn two_keys_of_one_id_are_refused() {
        let one = format!("{{ id = \"a\", algorithm = \"HS256\", secret = \"{SECRET}\" }}");
        let flaws = check(&format!("[{one}, {one}]")).expect_err("same id");
        assert_eq!(flaws[0].0, "[1].id");
    }
}
