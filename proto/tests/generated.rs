//! The generated code in the tree is what the `.proto` files say.
//!
//! `ROOKERY_REGENERATE=1 cargo test -p rookery-proto --test generated` writes it anew.

#![expect(clippy::unwrap_used, reason = "a test: a panic is its answer")]

use std::{collections::BTreeMap, fs, path::Path};

const FILES: [&str; 2] = ["rookery/v1/wire.proto", "rookery/link/v1/link.proto"];

#[test]
fn generated_code_equals_proto_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = root.join("src/generated");
    let fresh = generate(root);
    if std::env::var_os("ROOKERY_REGENERATE").is_some() {
        fs::create_dir_all(&target).unwrap();
        for (name, text) in &fresh {
            fs::write(target.join(name), text).unwrap();
        }
    }
    for (name, text) in &fresh {
        let kept = fs::read_to_string(target.join(name)).unwrap_or_default();
        assert!(
            kept == *text,
            "proto/src/generated/{name} is stale: run ROOKERY_REGENERATE=1 cargo test -p rookery-proto --test generated"
        );
    }
}

fn generate(root: &Path) -> BTreeMap<String, String> {
    use prost::Message as _;
    let descriptors = protox::compile(FILES.map(|file| root.join(file)), [root]).unwrap();
    let mut files = BTreeMap::new();

    let modules = prost_build::Config::new()
        .bytes(["."])
        .enable_type_names()
        .generate(
            descriptors
                .file
                .iter()
                .map(|file| {
                    (
                        prost_build::Module::from_protobuf_package_name(file.package()),
                        file.clone(),
                    )
                })
                .collect(),
        )
        .unwrap();
    for (module, text) in modules {
        files.insert(
            format!("{}.rs", module.parts().collect::<Vec<_>>().join(".")),
            text,
        );
    }

    let mut serde = pbjson_build::Builder::new();
    serde.ignore_unknown_fields();
    serde
        .register_descriptors(&descriptors.encode_to_vec())
        .unwrap();
    let mut json = Vec::new();
    for (package, text) in serde
        .generate(&[".rookery.v1"], |_| Ok(Vec::new()))
        .unwrap()
    {
        json.push((package.to_string(), String::from_utf8(text).unwrap()));
    }
    assert_eq!(json.len(), 1);
    // 64-bit numbers are sent as JSON numbers: offsets and times stay below 2^53, and clients
    // would otherwise have to convert every one of them.
    let text = json.remove(0).1;
    let numbers = text
        .replace("ToString::to_string(&", "&")
        .replace(").as_str())?;", ")?;");
    assert_ne!(
        text, numbers,
        "pbjson-build writes 64-bit numbers another way now"
    );
    files.insert("rookery.v1.serde.rs".to_owned(), numbers);
    files
}
