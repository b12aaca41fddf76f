//! Tokens, good and bad. The keys in `tests/keys` are for these tests alone.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rookery_proto::errors::Code;
use rookery_proto::{ids::RoomId, link::Grant};
use serde_json::{Value, json};

use super::*;

const NOW_S: u64 = 1_800_000_000;
const SECRET: &str = "a secret of the tests, long enough";
const OTHER_SECRET: &str = "another secret of the tests, as long";

const RSA_PRIVATE: &str = include_str!("tests/keys/rsa.private.pem");
const RSA_PUBLIC: &str = include_str!("tests/keys/rsa.public.pem");
const RSA_PUBLIC_PKCS1: &str = include_str!("tests/keys/rsa.pkcs1.pem");
const EC_PRIVATE: &str = include_str!("tests/keys/ec.private.pem");
const EC_PUBLIC: &str = include_str!("tests/keys/ec.public.pem");
const EC384_PUBLIC: &str = include_str!("tests/keys/ec384.public.pem");
const ED_PRIVATE: &str = include_str!("tests/keys/ed.private.pem");
const ED_PUBLIC: &str = include_str!("tests/keys/ed.public.pem");

fn key(alg: Algorithm) -> KeyConfig {
    KeyConfig {
        alg,
        kid: None,
        secret: None,
        secret_base64: None,
        public_key_pem: None,
    }
}

fn secret_key(secret: &str) -> KeyConfig {
    KeyConfig {
        secret: Some(Secret::new(secret)),
        ..key(Algorithm::HS256)
    }
}

fn pem_key(alg: Algorithm, pem: &str) -> KeyConfig {
    KeyConfig {
        public_key_pem: Some(pem.to_owned()),
        ..key(alg)
    }
}

fn named(kid: &str, key: KeyConfig) -> KeyConfig {
    KeyConfig {
        kid: Some(kid.to_owned()),
        ..key
    }
}

fn config(keys: impl Into<Vec<KeyConfig>>) -> AuthConfig {
    AuthConfig {
        keys: keys.into(),
        ..AuthConfig::default()
    }
}

fn verifier(keys: impl Into<Vec<KeyConfig>>) -> Verifier {
    Verifier::new(&config(keys)).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn claims() -> MintClaims {
    MintClaims {
        sub: "ada".to_owned(),
        exp: NOW_S + 600,
        ..MintClaims::default()
    }
}

fn secret() -> SigningKey {
    SigningKey::from_secret(&Secret::new(SECRET))
}

fn private(alg: Algorithm, pem: &str) -> SigningKey {
    SigningKey::from_pem(alg, &Secret::new(pem)).unwrap()
}

/// A token of any payload, signed with [`SECRET`].
fn token_of(payload: &Value) -> String {
    jsonwebtoken::encode(
        &jsonwebtoken::Header::default(),
        payload,
        &jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes()),
    )
    .unwrap()
}

fn verify_payload(payload: &Value) -> Result<Claims, AuthError> {
    verifier([secret_key(SECRET)]).verify(&token_of(payload), NOW_S)
}

/// A token with another header and the signature of the old one.
fn with_header(token: &str, header: &Value) -> String {
    let (_, rest) = token.split_once('.').unwrap();
    format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header.to_string()))
}

#[test]
fn token_of_each_algorithm_is_accepted_by_its_key_alone() {
    let pairs = [
        (secret(), secret_key(SECRET)),
        (
            private(Algorithm::RS256, RSA_PRIVATE),
            pem_key(Algorithm::RS256, RSA_PUBLIC),
        ),
        (
            private(Algorithm::ES256, EC_PRIVATE),
            pem_key(Algorithm::ES256, EC_PUBLIC),
        ),
        (
            private(Algorithm::EdDSA, ED_PRIVATE),
            pem_key(Algorithm::EdDSA, ED_PUBLIC),
        ),
    ];
    let everything = verifier(pairs.clone().map(|(_, public)| public));
    for (at, (signing, _)) in pairs.iter().enumerate() {
        let token = mint(signing, &claims()).unwrap();
        assert_eq!(
            everything.verify(&token, NOW_S).map(|claims| claims.user),
            Ok(UserId::parse("ada").unwrap())
        );
        for (other, (_, public)) in pairs.iter().enumerate() {
            let verified = verifier([public.clone()]).verify(&token, NOW_S);
            if at == other {
                assert!(verified.is_ok(), "{signing:?}");
            } else {
                assert_eq!(verified, Err(AuthError::UnknownAlgorithm), "{signing:?}");
            }
        }
    }
    let pkcs1 = verifier([pem_key(Algorithm::RS256, RSA_PUBLIC_PKCS1)]);
    let token = mint(&pairs[1].0, &claims()).unwrap();
    assert!(pkcs1.verify(&token, NOW_S).is_ok());
}

#[test]
fn token_says_user_name_grants_and_expiry() {
    let token = MintClaims {
        name: Some("Ada Lovelace".to_owned()),
        grants: [("news-*".to_owned(), "write".to_owned())].into(),
        ..claims()
    };
    let token = mint(&secret(), &token).unwrap();
    let claims = verifier([secret_key(SECRET)])
        .verify(&token, NOW_S)
        .unwrap();
    assert_eq!(claims.user.as_str(), "ada");
    assert_eq!(&*claims.name, "Ada Lovelace");
    assert_eq!(claims.expires_s, Some(NOW_S + 600));
    let room = RoomId::parse("news-today").unwrap();
    assert_eq!(claims.grants.for_room(&room), Grant::Write);
}

#[test]
fn token_with_base64_secret_is_accepted() {
    let encoded = Secret::new(STANDARD.encode(SECRET));
    let config = KeyConfig {
        secret_base64: Some(encoded.clone()),
        ..key(Algorithm::HS256)
    };
    let by_base64 = SigningKey::from_secret_base64(&encoded).unwrap();
    for signing in [secret(), by_base64] {
        let token = mint(&signing, &claims()).unwrap();
        assert!(verifier([config.clone()]).verify(&token, NOW_S).is_ok());
    }
}

#[test]
fn token_that_names_a_key_is_checked_with_that_key() {
    let rotated = [
        named("old", secret_key(OTHER_SECRET)),
        named("new", secret_key(SECRET)),
    ];
    let check = |kid: Option<&str>, keys: &[KeyConfig], expected: Result<(), AuthError>| {
        let signing = secret().with_kid(kid.map(str::to_owned));
        let token = mint(&signing, &claims()).unwrap();
        let verified = verifier(keys).verify(&token, NOW_S).map(|_| ());
        assert_eq!(verified, expected, "{kid:?}");
    };
    check(Some("new"), &rotated, Ok(()));
    check(None, &rotated, Ok(()));
    check(Some("old"), &rotated, Err(AuthError::WrongSignature));
    check(Some("none"), &rotated, Err(AuthError::UnknownKey));
    check(Some("any"), &[secret_key(SECRET)], Ok(()));
    check(
        Some("any"),
        &[secret_key(OTHER_SECRET)],
        Err(AuthError::WrongSignature),
    );
}

#[test]
fn token_forged_is_refused() {
    let rsa = verifier([pem_key(Algorithm::RS256, RSA_PUBLIC)]);
    let token = mint(&private(Algorithm::RS256, RSA_PRIVATE), &claims()).unwrap();
    let (message, signature) = token.rsplit_once('.').unwrap();

    for name in [
        "none", "None", "NONE", "nOnE", "", "HS512", "RS384", "PS256",
    ] {
        let forged = with_header(&token, &json!({ "alg": name }));
        let (unsigned, _) = forged.rsplit_once('.').unwrap();
        for forged in [forged.clone(), format!("{unsigned}.")] {
            assert_eq!(
                rsa.verify(&forged, NOW_S),
                Err(AuthError::UnknownAlgorithm),
                "{name}"
            );
        }
    }

    // The public key, which anyone may have, used as an HS256 secret.
    for stolen in [RSA_PUBLIC, RSA_PUBLIC.trim_end(), RSA_PUBLIC_PKCS1] {
        let signing = SigningKey::from_secret(&Secret::new(stolen));
        let forged = mint(&signing, &claims()).unwrap();
        assert_eq!(rsa.verify(&forged, NOW_S), Err(AuthError::UnknownAlgorithm));
        let both = verifier([
            pem_key(Algorithm::RS256, RSA_PUBLIC),
            secret_key(OTHER_SECRET),
        ]);
        assert_eq!(both.verify(&forged, NOW_S), Err(AuthError::WrongSignature));
        let relabelled = with_header(&forged, &json!({ "alg": "RS256" }));
        assert_eq!(
            both.verify(&relabelled, NOW_S),
            Err(AuthError::WrongSignature)
        );
    }

    // A key that the token brings along.
    let own = json!({ "alg": "RS256", "jwk": { "kty": "RSA", "n": "AQAB", "e": "AQAB" } });
    assert_eq!(
        rsa.verify(&with_header(&token, &own), NOW_S),
        Err(AuthError::WrongSignature)
    );

    // Another payload, and every single character of the signature changed.
    let (header, _) = message.split_once('.').unwrap();
    let payload = json!({ "sub": "eve", "exp": NOW_S + 600 }).to_string();
    let payload = URL_SAFE_NO_PAD.encode(payload);
    assert_eq!(
        rsa.verify(&format!("{header}.{payload}.{signature}"), NOW_S),
        Err(AuthError::WrongSignature)
    );
    let token = mint(&secret(), &claims()).unwrap();
    let (message, signature) = token.rsplit_once('.').unwrap();
    let hmac = verifier([secret_key(SECRET)]);
    for at in 0..signature.len() {
        let mut forged = signature.as_bytes().to_vec();
        forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
        let forged = format!("{message}.{}", String::from_utf8(forged).unwrap());
        assert_eq!(
            hmac.verify(&forged, NOW_S),
            Err(AuthError::WrongSignature),
            "character {at}"
        );
    }
    assert_eq!(
        hmac.verify(&format!("{message}."), NOW_S),
        Err(AuthError::WrongSignature)
    );
}

#[test]
fn token_that_is_no_token_is_refused() {
    let verifier = verifier([secret_key(SECRET)]);
    let good = mint(&secret(), &claims()).unwrap();
    assert!(verifier.verify(&good, NOW_S).is_ok());
    for cut in 0..good.len() {
        assert!(verifier.verify(&good[..cut], NOW_S).is_err(), "{cut}");
    }
    for bad in [
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        "ada",
        "e30.e30.",
        "bnVsbA.bnVsbA.",
        &format!(" {good}"),
        &format!("{good}.x"),
        &format!("x.{good}"),
    ] {
        let error = verifier.verify(bad, NOW_S).unwrap_err();
        assert!(matches!(error, AuthError::Malformed { .. }), "{bad}");
    }
    let crit = with_header(&good, &json!({ "alg": "HS256", "crit": ["b64"] }));
    assert_eq!(
        verifier.verify(&crit, NOW_S),
        Err(AuthError::CriticalHeader)
    );
    let long = "x".repeat(TOKEN_BYTES_MAX + 1);
    assert!(matches!(
        verifier.verify(&long, NOW_S),
        Err(AuthError::TooLong { .. })
    ));
}

#[test]
fn token_times_are_checked_with_leeway() {
    let leeway = LEEWAY_DEFAULT.as_secs();
    let check = |exp: Value, nbf: Value, expected: Result<(), AuthError>| {
        let payload = json!({ "sub": "ada", "exp": exp, "nbf": nbf });
        assert_eq!(verify_payload(&payload).map(|_| ()), expected, "{payload}");
    };
    let later = json!(NOW_S + 600);
    check(later.clone(), Value::Null, Ok(()));
    check(json!(NOW_S + 1), Value::Null, Ok(()));
    check(json!(NOW_S), Value::Null, Ok(()));
    check(json!(NOW_S - leeway + 1), Value::Null, Ok(()));
    check(json!(NOW_S - leeway), Value::Null, Err(AuthError::Expired));
    check(json!(0), Value::Null, Err(AuthError::Expired));
    check(json!(NOW_S as f64 + 0.5), Value::Null, Ok(()));
    check(
        Value::Null,
        Value::Null,
        Err(AuthError::MissingClaim { claim: "exp" }),
    );
    check(later.clone(), json!(NOW_S), Ok(()));
    check(later.clone(), json!(NOW_S + leeway), Ok(()));
    check(
        later.clone(),
        json!(NOW_S + leeway + 1),
        Err(AuthError::NotYetValid),
    );
    let wrong = |claim| AuthError::WrongClaim {
        claim,
        problem: "is not a time".to_owned(),
    };
    check(json!(-1), Value::Null, Err(wrong("exp")));
    check(json!(1e300), Value::Null, Err(wrong("exp")));
    check(later, json!(-1), Err(wrong("nbf")));
}

#[test]
fn token_audience_and_issuer_are_checked_when_configured() {
    let strict = Verifier::new(&AuthConfig {
        audiences: vec!["chat".to_owned(), "support".to_owned()],
        issuers: vec!["https://id.example".to_owned()],
        ..config([secret_key(SECRET)])
    })
    .unwrap_or_else(|problems| panic!("{problems:?}"));
    let check = |aud: Value, iss: Value, expected: Result<(), AuthError>| {
        let payload = json!({ "sub": "ada", "exp": NOW_S + 9, "aud": aud, "iss": iss });
        let verified = strict.verify(&token_of(&payload), NOW_S).map(|_| ());
        assert_eq!(verified, expected, "{payload}");
        assert!(verify_payload(&payload).is_ok(), "not looked at: {payload}");
    };
    let ours = || json!("https://id.example");
    check(json!("chat"), ours(), Ok(()));
    check(json!(["shop", "support"]), ours(), Ok(()));
    check(json!("shop"), ours(), Err(AuthError::WrongAudience));
    check(json!([]), ours(), Err(AuthError::WrongAudience));
    check(
        Value::Null,
        ours(),
        Err(AuthError::MissingClaim { claim: "aud" }),
    );
    check(
        json!("chat"),
        json!("https://id.example/"),
        Err(AuthError::WrongIssuer),
    );
    check(
        json!("chat"),
        Value::Null,
        Err(AuthError::MissingClaim { claim: "iss" }),
    );
}

#[test]
fn token_subject_and_name_are_checked() {
    let with = |sub: Value, name: Value| {
        verify_payload(&json!({ "sub": sub, "name": name, "exp": NOW_S + 9 }))
    };
    let name = |name: Value| with(json!("ada"), name).map(|claims| claims.name.to_string());
    assert_eq!(name(Value::Null), Ok("ada".to_owned()));
    assert_eq!(name(json!("  ")), Ok("ada".to_owned()));
    assert_eq!(name(json!("Ada")), Ok("Ada".to_owned()));
    assert_eq!(name(json!("x".repeat(128))), Ok("x".repeat(128)));
    assert!(matches!(
        name(json!("x".repeat(129))),
        Err(AuthError::WrongClaim { claim: "name", .. })
    ));
    assert_eq!(
        with(Value::Null, Value::Null),
        Err(AuthError::MissingClaim { claim: "sub" })
    );
    for sub in ["", "a\nb", &"x".repeat(129)] {
        assert!(matches!(
            with(json!(sub), Value::Null),
            Err(AuthError::WrongClaim { claim: "sub", .. })
        ));
    }
    assert!(matches!(
        with(json!(17), Value::Null),
        Err(AuthError::Malformed { .. })
    ));
    let grants = verify_payload(&json!({ "sub": "a", "exp": NOW_S + 9, "grants": {"*": "all"} }));
    assert!(matches!(
        grants,
        Err(AuthError::WrongClaim {
            claim: "grants",
            ..
        })
    ));
}

#[test]
fn name_is_enough_on_development_servers_only() {
    let dev = Verifier::dev(&config([secret_key(SECRET)])).unwrap_or_else(|p| panic!("{p:?}"));
    assert!(dev.accepts_names());
    let claims = dev.verify_name(" Ada Lovelace ").unwrap();
    assert_eq!(claims.user.as_str(), "Ada Lovelace");
    assert_eq!(&*claims.name, "Ada Lovelace");
    assert_eq!(claims.expires_s, None);
    let room = RoomId::parse("general").unwrap();
    assert_eq!(claims.grants.for_room(&room), Grant::Write);
    for name in ["", "  ", "a\u{7}", &"x".repeat(129)] {
        let error = dev.verify_name(name).unwrap_err();
        assert!(matches!(error, AuthError::WrongName(_)), "{name:?}");
    }
    assert!(dev.verify(&token_of(&json!({})), NOW_S).is_err());

    let strict = verifier([secret_key(SECRET)]);
    assert!(!strict.accepts_names());
    assert_eq!(strict.verify_name("ada"), Err(AuthError::NameNotAllowed));
}

#[test]
fn keys_that_cannot_be_used_are_all_reported() {
    let keys = [
        secret_key("short"),
        secret_key(SECRET),
        key(Algorithm::HS256),
        KeyConfig {
            secret_base64: Some(Secret::new("!")),
            ..key(Algorithm::HS256)
        },
        KeyConfig {
            secret_base64: Some(Secret::new(SECRET)),
            ..secret_key(SECRET)
        },
        pem_key(Algorithm::HS256, RSA_PUBLIC),
        key(Algorithm::RS256),
        pem_key(Algorithm::RS256, EC_PUBLIC),
        pem_key(Algorithm::ES256, RSA_PUBLIC),
        pem_key(Algorithm::ES256, EC384_PUBLIC),
        pem_key(Algorithm::EdDSA, EC_PUBLIC),
        pem_key(Algorithm::RS256, RSA_PRIVATE),
        pem_key(Algorithm::EdDSA, "not pem"),
        KeyConfig {
            secret: Some(Secret::new(SECRET)),
            ..pem_key(Algorithm::ES256, EC_PUBLIC)
        },
    ];
    let problems = Verifier::new(&config(keys.clone())).err().unwrap();
    let found: Vec<(usize, &str)> = problems
        .iter()
        .map(|problem| (problem.index, problem.field))
        .collect();
    assert_eq!(
        found,
        [
            (0, "secret"),
            (2, "secret"),
            (3, "secret_base64"),
            (4, "secret"),
            (5, "public_key_pem"),
            (6, "public_key_pem"),
            (7, "public_key_pem"),
            (8, "public_key_pem"),
            (9, "public_key_pem"),
            (10, "public_key_pem"),
            (11, "public_key_pem"),
            (12, "public_key_pem"),
            (13, "secret"),
        ]
    );
    let shown = format!("{problems:?} {keys:?} {}", json!(keys));
    assert!(!shown.contains(SECRET), "{shown}");
}

#[test]
fn signing_keys_of_the_wrong_kind_are_refused() {
    for (alg, pem) in [
        (Algorithm::HS256, RSA_PRIVATE),
        (Algorithm::RS256, EC_PRIVATE),
        (Algorithm::ES256, ED_PRIVATE),
        (Algorithm::EdDSA, "not pem"),
    ] {
        let error = SigningKey::from_pem(alg, &Secret::new(pem)).unwrap_err();
        assert_eq!(error, MintError::Key { algorithm: alg });
    }
    assert!(SigningKey::from_secret_base64(&Secret::new("!")).is_err());
}

#[test]
fn errors_say_what_is_wrong_and_never_repeat_the_token() {
    let token = token_of(&json!({ "sub": "ada", "exp": 1 }));
    let error = verifier([secret_key(SECRET)])
        .verify(&token, NOW_S)
        .unwrap_err();
    let wire = error.into_wire("authenticate.token");
    assert_eq!(wire.code, Code::Unauthenticated);
    assert_eq!(wire.message, "token is expired");
    assert_eq!(wire.field, Some("authenticate.token"));
}
