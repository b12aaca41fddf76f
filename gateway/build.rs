//! Lists the page's and the SDK's files, so that the binary carries whatever is there.

use std::{
    collections::hash_map::DefaultHasher,
    env,
    error::Error,
    fmt::Write as _,
    fs,
    hash::Hasher as _,
    path::{Path, PathBuf},
};

/// Folders under `clients/` that are served, under `/assets/` and their name.
const FOLDERS: [&str; 2] = ["sdk", "web"];

fn main() -> Result<(), Box<dyn Error>> {
    let clients = Path::new(env!("CARGO_MANIFEST_DIR")).join("../clients");
    let mut files = Vec::new();
    for folder in FOLDERS {
        collect(&clients.join(folder), folder, &mut files)?;
    }
    files.sort();

    let mut table = String::from("&[\n");
    for (name, path) in &files {
        let content_type = content_type(path).ok_or("collected files have a type")?;
        let mut hasher = DefaultHasher::new();
        hasher.write(&fs::read(path)?);
        let etag = format!("\"{:016x}\"", hasher.finish());
        let path = path.canonicalize()?;
        writeln!(
            table,
            "    Asset {{ name: {name:?}, content_type: {content_type:?}, etag: {etag:?}, \
             bytes: include_bytes!({path:?}) }},"
        )?;
    }
    table.push_str("]\n");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    fs::write(out.join("assets.rs"), table)?;
    Ok(())
}

/// Adds every file of a served type; test folders and hidden files stay out.
fn collect(
    folder: &Path,
    name: &str,
    files: &mut Vec<(String, PathBuf)>,
) -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={}", folder.display());
    if !folder.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let file_name = entry.file_name();
        let Some(file_name) = file_name.to_str() else {
            continue;
        };
        if file_name.starts_with('.') || ["test", "tests", "node_modules"].contains(&file_name) {
            continue;
        }
        let path = entry.path();
        let name = format!("{name}/{file_name}");
        if entry.file_type()?.is_dir() {
            collect(&path, &name, files)?;
        } else if content_type(&path).is_some() && !file_name.contains(".test.") {
            println!("cargo::rerun-if-changed={}", path.display());
            files.push((name, path));
        }
    }
    Ok(())
}

fn content_type(path: &Path) -> Option<&'static str> {
    match path.extension()?.to_str()? {
        "html" => Some("text/html; charset=utf-8"),
        "js" => Some("text/javascript; charset=utf-8"),
        "css" => Some("text/css; charset=utf-8"),
        "svg" => Some("image/svg+xml"),
        _ => None,
    }
}
