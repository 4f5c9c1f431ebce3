//! A kubeconfig: whose client certificate is shown is a user that it names for its current context.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nodebake::identity::{ClientCertificate, KubeconfigUser};

pub(crate) fn run(bytes: &[u8]) {
    let Ok(user) = KubeconfigUser::read(bytes) else { return };
    let text = std::str::from_utf8(bytes).expect("only text is read");
    assert!(!user.name.is_empty());
    match user.certificate {
        // An escape in YAML stands for what it does not look like.
        _ if text.contains('\\') => {}
        Some(ClientCertificate::Data(data)) => {
            let plain: String = text.split_whitespace().collect();
            assert!(data.is_empty() || plain.contains(STANDARD.encode(data).trim_end_matches('=')));
        }
        Some(ClientCertificate::File(path)) => {
            // A folded text has blanks where the file has ends of lines.
            let path = path.to_str().expect("it was text");
            assert!(path.split_whitespace().all(|word| text.contains(word)), "{path:?}");
        }
        Some(ClientCertificate::Damaged) | None => {}
    }
}
