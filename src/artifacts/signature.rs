//! `OpenPGP` signatures over upstream's checksum files, made by keys that are compiled in (images/keys/).
//!
//! Nothing but these keys counts: there is no key server, no keyring of the user and no web of trust. A key that has
//! expired or was revoked verifies nothing any more, whatever the date in the signature says: whoever has stolen an old
//! key can write any date.

use std::fmt;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use pgp::composed::{
    CleartextSignedMessage, Deserializable as _, DetachedSignature, SignedPublicKey, SignedPublicSubKey,
};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Signature, SignatureType, SubpacketData};
use pgp::types::{Duration, KeyDetails, Tag};

/// Who signs a checksum file of upstream's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Signer {
    /// Canonical's key for cloud images: of ubuntu-cloudimage-keyring.gpg in Debian's package ubuntu-keyring 2023.11.28.1.
    Ubuntu,
    /// runc's maintainers: runc.keyring of its sources, in Debian's source package runc 1.3.6+ds1.
    Runc,
}

impl Signer {
    /// Its keys.
    pub fn keyring(self) -> Result<Keyring, SignatureError> {
        Keyring::read(match self {
            Self::Ubuntu => include_str!("../../images/keys/ubuntu.asc"),
            Self::Runc => include_str!("../../images/keys/runc.asc"),
        })
    }
}

/// The fingerprint of a primary key: 40 uppercase hexadecimal digits (RFC 9580, 5.5.4.2).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// Reads what [`Display`](fmt::Display) writes.
    pub fn parse(text: &str) -> Option<Self> {
        let digit = |b: u8| b.is_ascii_digit() || (b'A'..=b'F').contains(&b);
        (matches!(text.len(), 40 | 64) && text.bytes().all(digit)).then(|| Self(text.to_owned()))
    }

    fn of(key: &impl KeyDetails) -> Self {
        Self(format!("{:X}", key.fingerprint()))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a signature says nothing for a file.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// The pinned keys cannot be read; the tests hold that this never happens.
    #[error("the built-in keys cannot be read")]
    Keyring {
        /// What is wrong.
        #[source]
        source: Box<pgp::errors::Error>,
    },
    /// What should be a signature is none.
    #[error("there is no OpenPGP signature in it that can be read")]
    Unreadable,
    /// A file that should be signed in clear text holds no signature.
    #[error("it is not signed")]
    NotSigned,
    /// None of the pinned keys made the signature.
    #[error("it is signed by a key that is not upstream's{}", list(issuers))]
    UnknownKey {
        /// Key IDs that the signature names.
        issuers: Vec<String>,
    },
    /// The signature is over other bytes.
    #[error("the signature by {key} is not over this text")]
    Mismatch {
        /// The pinned key that the signature names.
        key: Fingerprint,
    },
    /// The signature is of a kind that is not made over files.
    #[error("the signature by {key} is not one over a text")]
    Kind {
        /// The key.
        key: Fingerprint,
    },
    /// The signature rests on a hash function that can be fooled.
    #[error("the signature by {key} rests on {algorithm}, which can be fooled")]
    WeakHash {
        /// The key.
        key: Fingerprint,
        /// The hash function's name.
        algorithm: HashAlgorithm,
    },
    /// The key, or the signature itself, was made for a time that is over.
    #[error("it is signed by {key}, {what} expired on {date}")]
    Expired {
        /// The key.
        key: Fingerprint,
        /// `which`, or `a signature that`.
        what: &'static str,
        /// The day (UTC) on which it expired, `2026-07-31`.
        date: String,
    },
    /// The key's owner has taken it back.
    #[error("it is signed by {key}, which was revoked")]
    Revoked {
        /// The key.
        key: Fingerprint,
    },
    /// The key is not meant for signatures over files.
    #[error("it is signed by {key}, which is not meant for that")]
    NotForSigning {
        /// The key.
        key: Fingerprint,
    },
}

fn list(issuers: &[String]) -> String {
    if issuers.is_empty() { String::new() } else { format!(": {}", issuers.join(", ")) }
}

impl SignatureError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Keyring { .. } => return None,
            Self::Expired { .. } | Self::Revoked { .. } | Self::UnknownKey { .. } => {
                "a newer nodebake may know upstream's newer keys; or name the file with its digest under artifacts:"
            }
            _ => "what is published there is not what upstream signed: check the mirror or proxy, and trust none of it",
        };
        Some(hint.to_owned())
    }
}

/// Public keys whose signatures count.
#[derive(Debug)]
pub struct Keyring(Vec<SignedPublicKey>);

impl Keyring {
    /// Reads keys from armored blocks; what stands between them is comment.
    pub fn read(text: &str) -> Result<Self, SignatureError> {
        const BEGIN: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
        const END: &str = "-----END PGP PUBLIC KEY BLOCK-----";
        let wrong = |source| SignatureError::Keyring { source: Box::new(source) };
        let mut keys = Vec::new();
        for block in text.split_inclusive(END) {
            // Behind the last block there may be none.
            let Some(start) = block.find(BEGIN) else { continue };
            let (block, _) = SignedPublicKey::from_string_many(&block[start..]).map_err(wrong)?;
            keys.extend(block.collect::<Result<Vec<_>, _>>().map_err(wrong)?);
        }
        Ok(Self(keys))
    }

    /// The fingerprints of its keys.
    pub fn fingerprints(&self) -> Vec<Fingerprint> {
        self.0.iter().map(Fingerprint::of).collect()
    }

    /// Checks a detached signature, armored or not, over `file`; gives the primary key that made it.
    pub fn detached(&self, file: &[u8], signature: &[u8], now: Timestamp) -> Result<Fingerprint, SignatureError> {
        let signatures = if signature.starts_with(b"-----BEGIN") {
            DetachedSignature::from_armor_many(signature).map(|(all, _)| all)
        } else {
            DetachedSignature::from_bytes_many(signature)
        };
        let signatures = signatures.and_then(Iterator::collect::<Result<Vec<_>, _>>);
        // The parser's own words say nothing to whoever has no use for a signature that is none.
        let signatures = signatures.map_err(|_| SignatureError::Unreadable)?;
        let signatures: Vec<_> = signatures.into_iter().map(|signature| signature.signature).collect();
        self.any(&signatures, &[SignatureType::Binary, SignatureType::Text], file, now)
    }

    /// Checks a clear-signed file (RFC 9580, 7) and gives the text that was signed, without what stands around it, and
    /// the primary key that signed it.
    pub fn clear_signed(&self, file: &[u8], now: Timestamp) -> Result<(String, Fingerprint), SignatureError> {
        if !file.trim_ascii_start().starts_with(b"-----BEGIN PGP SIGNED MESSAGE-----") {
            return Err(SignatureError::NotSigned);
        }
        let (message, _) = CleartextSignedMessage::from_armor(file).map_err(|_| SignatureError::Unreadable)?;
        let text = message.signed_text();
        let key = self.any(message.signatures(), &[SignatureType::Text], text.as_bytes(), now)?;
        Ok((text, key))
    }

    /// The key of the first good signature, else the failure that says most.
    fn any(
        &self,
        signatures: &[Signature],
        kinds: &[SignatureType],
        text: &[u8],
        now: Timestamp,
    ) -> Result<Fingerprint, SignatureError> {
        let mut failure = SignatureError::NotSigned;
        for signature in signatures {
            match self.one(signature, kinds, text, now) {
                Err(SignatureError::UnknownKey { .. }) if !matches!(failure, SignatureError::NotSigned) => {}
                Err(error) => failure = error,
                good => return good,
            }
        }
        Err(failure)
    }

    fn one(
        &self,
        signature: &Signature,
        kinds: &[SignatureType],
        text: &[u8],
        now: Timestamp,
    ) -> Result<Fingerprint, SignatureError> {
        let mut failure = None;
        for (primary, subkey) in self.0.iter().flat_map(components) {
            let names = subkey.map_or_else(|| names(signature, primary), |subkey| names(signature, &subkey.key));
            if !names {
                continue;
            }
            let key = Fingerprint::of(primary);
            let verified = match subkey {
                None => signature.verify(primary, text),
                Some(subkey) => signature.verify(&subkey.key, text),
            };
            if verified.is_err() {
                failure = Some(SignatureError::Mismatch { key });
                continue;
            }
            holds(signature, kinds, &key, now)?;
            usable(primary, subkey, signature, &key, now)?;
            return Ok(key);
        }
        Err(failure.unwrap_or_else(|| SignatureError::UnknownKey { issuers: issuers(signature) }))
    }
}

/// A primary key by itself, then with each of its subkeys.
fn components(key: &SignedPublicKey) -> impl Iterator<Item = (&SignedPublicKey, Option<&SignedPublicSubKey>)> {
    std::iter::once((key, None)).chain(key.public_subkeys.iter().map(move |subkey| (key, Some(subkey))))
}

/// Whether a signature says that `key` made it. One that names nobody might be anyone's.
fn names(signature: &Signature, key: &impl KeyDetails) -> bool {
    let (ids, fingerprints) = (signature.issuer_key_id(), signature.issuer_fingerprint());
    (ids.is_empty() && fingerprints.is_empty())
        || ids.contains(&&key.legacy_key_id())
        || fingerprints.contains(&&key.fingerprint())
}

fn issuers(signature: &Signature) -> Vec<String> {
    let fingerprints: Vec<_> = signature.issuer_fingerprint().iter().map(|key| format!("{key:X}")).collect();
    if !fingerprints.is_empty() {
        return fingerprints;
    }
    signature.issuer_key_id().iter().map(|id| id.to_string().to_uppercase()).collect()
}

/// Whether a signature that verifies is one that counts.
fn holds(
    signature: &Signature,
    kinds: &[SignatureType],
    key: &Fingerprint,
    now: Timestamp,
) -> Result<(), SignatureError> {
    let key = key.clone();
    if !signature.typ().is_some_and(|kind| kinds.contains(&kind)) {
        return Err(SignatureError::Kind { key });
    }
    // RFC 9580, 9.5: these must not be relied on.
    let algorithm = signature.hash_alg().unwrap_or_default();
    let strong = [
        HashAlgorithm::Sha256,
        HashAlgorithm::Sha384,
        HashAlgorithm::Sha512,
        HashAlgorithm::Sha3_256,
        HashAlgorithm::Sha3_512,
    ];
    if !strong.contains(&algorithm) {
        return Err(SignatureError::WeakHash { key, algorithm });
    }
    let made = signature.created().map(pgp::types::Timestamp::as_secs);
    match end(made, signature.signature_expiration_time()) {
        Some(end) if end <= now => Err(SignatureError::Expired { key, what: "with a signature that", date: day(end) }),
        _ => Ok(()),
    }
}

/// Whether a key may make signatures over files, now and when it made this one.
fn usable(
    primary: &SignedPublicKey,
    subkey: Option<&SignedPublicSubKey>,
    signature: &Signature,
    key: &Fingerprint,
    now: Timestamp,
) -> Result<(), SignatureError> {
    let made = signature.created().map_or(now, |made| seconds(made.as_secs().into()));
    // An end of zero seconds is none (RFC 9580, 5.2.3.13).
    let over = |created: u32, binding: &Signature| {
        end(Some(created), binding.key_expiration_time()).filter(|end| *end <= now.max(made))
    };
    let expired = |end| SignatureError::Expired { key: key.clone(), what: "which", date: day(end) };
    let revoked = || SignatureError::Revoked { key: key.clone() };
    let not_for_signing = || SignatureError::NotForSigning { key: key.clone() };

    if primary
        .details
        .revocation_signatures
        .iter()
        .any(|revocation| revocation.verify_key(&primary.primary_key).is_ok())
    {
        return Err(revoked());
    }
    let own = newest_self_signature(primary).ok_or_else(not_for_signing)?;
    if let Some(end) = over(primary.created_at().as_secs(), own) {
        return Err(expired(end));
    }
    let Some(subkey) = subkey else {
        // Keys of old carry no flags, and may do everything.
        return if own.key_flags().sign() || !has_flags(own) { Ok(()) } else { Err(not_for_signing()) };
    };
    let bound = |kind: SignatureType| {
        let signatures = subkey.signatures.iter().filter(move |signature| signature.typ() == Some(kind));
        signatures.filter(|signature| signature.verify_subkey_binding(&primary.primary_key, &subkey.key).is_ok())
    };
    if bound(SignatureType::SubkeyRevocation).next().is_some() {
        return Err(revoked());
    }
    let binding = bound(SignatureType::SubkeyBinding).max_by_key(|binding| binding.created());
    let binding = binding.filter(|binding| is_signing_subkey(primary, subkey, binding)).ok_or_else(not_for_signing)?;
    over(subkey.key.created_at().as_secs(), binding).map_or(Ok(()), |end| Err(expired(end)))
}

/// The binding must allow signatures, and the subkey must agree to it (RFC 9580, 5.2.1.9): else anyone could adopt the
/// key of another.
fn is_signing_subkey(primary: &SignedPublicKey, subkey: &SignedPublicSubKey, binding: &Signature) -> bool {
    let agrees = |back: &Signature| back.verify_primary_key_binding(&subkey.key, &primary.primary_key).is_ok();
    binding.key_flags().sign() && binding.embedded_signature().is_some_and(agrees)
}

/// What a primary key last said of itself, in certifications of its user IDs or directly.
fn newest_self_signature(key: &SignedPublicKey) -> Option<&Signature> {
    let primary = &key.primary_key;
    let users = key.details.users.iter().flat_map(|user| {
        let own = move |signature: &&Signature| signature.verify_certification(primary, Tag::UserId, &user.id).is_ok();
        user.signatures.iter().filter(own)
    });
    let direct = key.details.direct_signatures.iter().filter(|signature| signature.verify_key(primary).is_ok());
    users.chain(direct).max_by_key(|signature| signature.created())
}

fn has_flags(signature: &Signature) -> bool {
    let subpackets = signature.config().into_iter().flat_map(pgp::packet::SignatureConfig::hashed_subpackets);
    subpackets.into_iter().any(|subpacket| matches!(subpacket.data, SubpacketData::KeyFlags(_)))
}

/// When something that was made then, in seconds of the Unix epoch, comes to its end; `None` for never.
fn end(made: Option<u32>, after: Option<Duration>) -> Option<Timestamp> {
    let after = after.map(Duration::as_secs).filter(|after| *after > 0)?;
    Some(seconds(i64::from(made?) + i64::from(after)))
}

/// Both numbers have 32 bits, so their sum is always a time.
fn seconds(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
}

fn day(time: Timestamp) -> String {
    time.to_zoned(TimeZone::UTC).date().to_string()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
pub(super) mod tests {
    use pgp::composed::{ArmorOptions, KeyType, SecretKeyParamsBuilder, SignedSecretKey, SubkeyParamsBuilder};
    use pgp::packet::{SignatureConfig, Subpacket};
    use pgp::types::{Password, Timestamp as Seconds};
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    use super::*;

    const SUMS: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  runc.amd64\n";
    /// 2026-11-22; keys are made in 2020.
    const NOW: i64 = 1_795_300_000;
    const MADE: u32 = 1_577_836_800;
    const YEAR: u32 = 365 * 86_400;

    fn now() -> Timestamp {
        Timestamp::from_second(NOW).unwrap()
    }

    /// What a test's key says of itself.
    #[derive(Clone, Copy)]
    struct Made {
        seed: u64,
        /// Seconds after its making; 0 is never.
        expires: u32,
        revoked: bool,
        signs: bool,
    }

    const PLAIN: Made = Made { seed: 1, expires: 0, revoked: false, signs: true };

    fn rng(seed: u64) -> StdRng {
        StdRng::seed_from_u64(seed)
    }

    fn subpackets(key: &impl KeyDetails, at: u32, more: Vec<SubpacketData>) -> Vec<Subpacket> {
        let own = [
            SubpacketData::SignatureCreationTime(Seconds::from_secs(at)),
            SubpacketData::IssuerFingerprint(key.fingerprint()),
        ];
        own.into_iter().chain(more).map(|data| Subpacket::regular(data).unwrap()).collect()
    }

    fn key(made: Made) -> SignedSecretKey {
        let mut parameters = SecretKeyParamsBuilder::default();
        parameters.key_type(KeyType::Ed25519Legacy).can_certify(true).can_sign(made.signs);
        parameters.created_at(Seconds::from_secs(MADE)).primary_user_id("Test <test@example.org>".to_owned());
        let mut key = parameters.build().unwrap().generate(rng(made.seed)).unwrap();
        let user = &mut key.details.users[0];
        let mut flags = pgp::packet::KeyFlags::default();
        flags.set_certify(true);
        flags.set_sign(made.signs);
        let more =
            vec![SubpacketData::KeyFlags(flags), SubpacketData::KeyExpirationTime(Duration::from_secs(made.expires))];
        let mut config = SignatureConfig::from_key(rng(2), &key.primary_key, SignatureType::CertPositive).unwrap();
        config.hashed_subpackets = subpackets(&key.primary_key, MADE, more);
        let public = key.primary_key.public_key().clone();
        let none = Password::empty();
        user.signatures =
            vec![config.sign_certification(&key.primary_key, &public, &none, Tag::UserId, &user.id).unwrap()];
        if made.revoked {
            let mut config = SignatureConfig::from_key(rng(2), &key.primary_key, SignatureType::KeyRevocation).unwrap();
            config.hashed_subpackets = subpackets(&key.primary_key, MADE + 1, Vec::new());
            key.details.revocation_signatures = vec![config.sign_key(&key.primary_key, &none, &public).unwrap()];
        }
        key
    }

    fn keyring(keys: &[&SignedSecretKey]) -> Keyring {
        let armored = |key: &&SignedSecretKey| {
            SignedPublicKey::from((*key).clone()).to_armored_string(ArmorOptions::default()).unwrap()
        };
        Keyring::read(&format!("comment\n{}", keys.iter().map(armored).collect::<Vec<_>>().join("between\n"))).unwrap()
    }

    /// A signature over `text`, made then, and what else it says.
    fn sign(
        key: &SignedSecretKey,
        kind: SignatureType,
        hash: HashAlgorithm,
        at: u32,
        more: Vec<SubpacketData>,
        text: &str,
    ) -> Signature {
        let mut config = SignatureConfig::v4(kind, key.algorithm(), hash);
        config.hashed_subpackets = subpackets(&key.primary_key, at, more);
        config.sign(&key.primary_key, &Password::empty(), text.as_bytes()).unwrap()
    }

    fn armored(signature: Signature) -> Vec<u8> {
        DetachedSignature::new(signature).to_armored_bytes(ArmorOptions::default()).unwrap()
    }

    fn clear(key: &SignedSecretKey, text: &str) -> String {
        let message = CleartextSignedMessage::sign(rng(3), text, &key.primary_key, &Password::empty()).unwrap();
        message.to_armored_string(ArmorOptions::default()).unwrap()
    }

    #[test]
    fn the_pinned_keys_are_the_known_ones() {
        let fingerprints = |signer: Signer| -> Vec<String> {
            signer.keyring().unwrap().fingerprints().iter().map(ToString::to_string).collect()
        };
        assert_eq!(fingerprints(Signer::Ubuntu), ["D2EB44626FDDC30B513D5BB71A5D6C4C7DB87C81"]);
        assert_eq!(
            fingerprints(Signer::Runc),
            [
                "C9C370B246B09F6DBCFC744C34401015D1D2D386",
                "C2428CD75720FACDCF76B6EA17DE5ECB75A1100E",
                "C020EA876CE4E06C7AB95AEF49524C6F9F638F1A",
            ]
        );
    }

    /// Which of the pinned keys and subkeys could sign today: what the keyrings say of them is read as upstream means it.
    #[test]
    fn the_pinned_keys_say_what_they_are_for() {
        let verdicts = |signer: Signer| -> Vec<String> {
            let keyring = signer.keyring().unwrap();
            let other = key(PLAIN);
            let signature = sign(&other, SignatureType::Binary, HashAlgorithm::Sha256, MADE, Vec::new(), SUMS);
            let verdict = |(primary, subkey): (&SignedPublicKey, Option<&SignedPublicSubKey>)| {
                let key = Fingerprint::of(primary);
                match usable(primary, subkey, &signature, &key, now()) {
                    Ok(()) => format!("{:.8} signs", key.to_string()),
                    Err(error) => error.to_string().replace(&key.to_string()[8..], ""),
                }
            };
            keyring.0.iter().flat_map(components).map(verdict).collect()
        };
        assert_eq!(verdicts(Signer::Ubuntu), ["D2EB4462 signs"]);
        let (aleksa, kir, akihiro) = ("C9C370B2", "C2428CD7", "C020EA87");
        let not_for = |key: &str| format!("it is signed by {key}, which is not meant for that");
        let revoked = format!("it is signed by {aleksa}, which was revoked");
        let expired = format!("it is signed by {akihiro}, which expired on 2026-07-31");
        assert_eq!(
            verdicts(Signer::Runc),
            [
                // Certifies, then three subkeys of 2019, then those of 2022: sign, encrypt, authenticate.
                not_for(aleksa),
                revoked.clone(),
                revoked.clone(),
                revoked,
                format!("{aleksa} signs"),
                not_for(aleksa),
                not_for(aleksa),
                format!("{kir} signs"),
                not_for(kir),
                expired.clone(),
                expired,
            ]
        );
    }

    #[test]
    fn good_signatures_name_their_key() {
        let (one, two) = (key(PLAIN), key(Made { seed: 7, ..PLAIN }));
        let keyring = keyring(&[&one, &two]);
        for signer in [&one, &two] {
            let print = Fingerprint::of(&signer.primary_key);
            for kind in [SignatureType::Binary, SignatureType::Text] {
                let signature = sign(signer, kind, HashAlgorithm::Sha512, MADE, Vec::new(), SUMS);
                let raw = pgp::ser::Serialize::to_bytes(&DetachedSignature::new(signature.clone())).unwrap();
                for bytes in [raw, armored(signature)] {
                    assert_eq!(keyring.detached(SUMS.as_bytes(), &bytes, now()).unwrap(), print);
                }
            }
            let (text, found) = keyring.clear_signed(clear(signer, SUMS).as_bytes(), now()).unwrap();
            assert_eq!((text, found), (SUMS.replace('\n', "\r\n"), print));
        }
    }

    #[test]
    fn a_subkey_signs_for_its_primary_key() {
        let mut sub = SubkeyParamsBuilder::default();
        sub.key_type(KeyType::Ed25519Legacy).can_sign(true).created_at(Seconds::from_secs(MADE));
        let mut parameters = SecretKeyParamsBuilder::default();
        parameters.key_type(KeyType::Ed25519Legacy).can_certify(true).created_at(Seconds::from_secs(MADE));
        parameters.primary_user_id("Test <test@example.org>".to_owned()).subkey(sub.build().unwrap());
        let key = parameters.build().unwrap().generate(rng(1)).unwrap();
        let keyring = keyring(&[&key]);
        let print = Fingerprint::of(&key.primary_key);
        let by = |signer: &dyn Fn() -> DetachedSignature| {
            let signature = signer().to_armored_bytes(ArmorOptions::default()).unwrap();
            keyring.detached(SUMS.as_bytes(), &signature, now()).map_err(|error| error.to_string())
        };
        let none = Password::empty();
        let (primary, sub) = (&key.primary_key, &key.secret_subkeys[0].key);
        let sha = HashAlgorithm::Sha256;
        let by_sub = || DetachedSignature::sign_binary_data(rng(4), sub, &none, sha, SUMS.as_bytes()).unwrap();
        assert_eq!(by(&by_sub), Ok(print.clone()));
        let by_primary = || DetachedSignature::sign_binary_data(rng(4), primary, &none, sha, SUMS.as_bytes()).unwrap();
        assert_eq!(by(&by_primary), Err(format!("it is signed by {print}, which is not meant for that")));
    }

    #[test]
    fn bad_signatures_are_told_apart() {
        let good = key(PLAIN);
        let other = key(Made { seed: 9, ..PLAIN });
        let expired = key(Made { seed: 3, expires: YEAR, ..PLAIN });
        let revoked = key(Made { seed: 4, revoked: true, ..PLAIN });
        let certifies = key(Made { seed: 5, signs: false, ..PLAIN });
        let later = key(Made { seed: 6, expires: 10 * YEAR, ..PLAIN });
        let keyring = keyring(&[&good, &expired, &revoked, &certifies, &later]);
        let print = |key: &SignedSecretKey| Fingerprint::of(&key.primary_key).to_string();
        let sha = HashAlgorithm::Sha256;
        let plain = |key| sign(key, SignatureType::Binary, sha, MADE, Vec::new(), SUMS);
        let after = |key, seconds| sign(key, SignatureType::Binary, sha, MADE + seconds, Vec::new(), SUMS);
        let lives = vec![SubpacketData::SignatureExpirationTime(Duration::from_secs(YEAR))];
        let g = print(&good);
        for (signature, text, expected) in [
            (plain(&good), SUMS, Ok(g.clone())),
            (plain(&good), "other text", Err(format!("the signature by {g} is not over this text"))),
            (plain(&good), &SUMS.replace("  ", " *"), Err(format!("the signature by {g} is not over this text"))),
            (plain(&other), SUMS, Err(format!("it is signed by a key that is not upstream's: {}", print(&other)))),
            (plain(&expired), SUMS, Err(format!("it is signed by {}, which expired on 2020-12-31", print(&expired)))),
            (plain(&revoked), SUMS, Err(format!("it is signed by {}, which was revoked", print(&revoked)))),
            (
                plain(&certifies),
                SUMS,
                Err(format!("it is signed by {}, which is not meant for that", print(&certifies))),
            ),
            (plain(&later), SUMS, Ok(print(&later))),
            // Dated after the key's end, by a clock that may be ahead of ours.
            (
                after(&later, 11 * YEAR),
                SUMS,
                Err(format!("it is signed by {}, which expired on 2029-12-29", print(&later))),
            ),
            (
                sign(&good, SignatureType::Binary, sha, MADE, lives, SUMS),
                SUMS,
                Err(format!("it is signed by {g}, with a signature that expired on 2020-12-31")),
            ),
        ] {
            let found = keyring.detached(text.as_bytes(), &armored(signature), now());
            let found = found.map(|key| key.to_string()).map_err(|error| error.to_string());
            assert_eq!(found, expected);
        }
        for junk in ["", "junk", "-----BEGIN PGP SIGNATURE-----\n\nbm8gc2lnbmF0dXJl\n-----END PGP SIGNATURE-----\n"] {
            let error = keyring.detached(SUMS.as_bytes(), junk.as_bytes(), now()).unwrap_err().to_string();
            let unreadable = "there is no OpenPGP signature in it that can be read";
            assert_eq!(error, if junk.is_empty() { "it is not signed" } else { unreadable }, "{junk:?}");
        }
    }

    #[test]
    fn only_the_signed_text_counts() {
        let signer = key(PLAIN);
        let keyring = keyring(&[&signer]);
        let print = Fingerprint::of(&signer.primary_key).to_string();
        let whole = clear(&signer, SUMS);
        let check = |file: &str| {
            keyring.clear_signed(file.as_bytes(), now()).map(|(text, _)| text).map_err(|error| error.to_string())
        };
        let signed = SUMS.replace('\n', "\r\n");
        let mismatch = || Err(format!("the signature by {print} is not over this text"));
        let unreadable = || Err("there is no OpenPGP signature in it that can be read".to_owned());
        let digest = &SUMS[..64];
        for (file, expected) in [
            (whole.clone(), Ok(signed.clone())),
            // Blanks at the ends of lines and their kind of break are not signed (RFC 9580, 7.1).
            (whole.replace("runc.amd64\n", "runc.amd64 \t\n"), Ok(signed.clone())),
            (whole.replace('\n', "\r\n"), Ok(signed)),
            (whole.replace("ba78", "ba79"), mismatch()),
            (whole.replace("runc.amd64\n", &format!("runc.amd64\n{digest}  runc.arm64\n")), mismatch()),
            // Text in front of and behind what is signed.
            (format!("{SUMS}{whole}"), Err("it is not signed".to_owned())),
            (format!("{whole}{SUMS}"), unreadable()),
            (whole.replace("Hash: ", &format!("Comment: {digest}\nHash: ")), unreadable()),
            (whole.split("-----BEGIN PGP SIGNATURE").next().unwrap().to_owned(), unreadable()),
            (SUMS.to_owned(), Err("it is not signed".to_owned())),
            (String::new(), Err("it is not signed".to_owned())),
        ] {
            assert_eq!(check(&file), expected, "{file}");
        }
        // Lines that begin with a dash are escaped in the file and not in the text.
        let dashed = clear(&signer, "-----BEGIN\n- a\n");
        assert!(dashed.contains("\n- -----BEGIN\n- - a\n"), "{dashed}");
        assert_eq!(check(&dashed), Ok("-----BEGIN\r\n- a\r\n".to_owned()));
    }

    #[test]
    fn a_binary_signature_does_not_hold_for_clear_text() {
        let signer = key(PLAIN);
        let text = SUMS.trim_end();
        let signature = sign(&signer, SignatureType::Binary, HashAlgorithm::Sha256, MADE, Vec::new(), text);
        let message = CleartextSignedMessage::new_many(text, |_| Ok(vec![signature])).unwrap();
        let file = message.to_armored_string(ArmorOptions::default()).unwrap();
        let error = keyring(&[&signer]).clear_signed(file.as_bytes(), now()).unwrap_err();
        let print = Fingerprint::of(&signer.primary_key);
        assert_eq!(error.to_string(), format!("the signature by {print} is not one over a text"));
    }

    #[test]
    fn one_good_signature_of_several_is_enough() {
        let (ours, other) = (key(PLAIN), key(Made { seed: 9, ..PLAIN }));
        let both = |text: &str| {
            let sign = |key| sign(key, SignatureType::Text, HashAlgorithm::Sha256, MADE, Vec::new(), SUMS);
            let all = CleartextSignedMessage::new_many(text, |_| Ok(vec![sign(&ours), sign(&other)])).unwrap();
            all.to_armored_string(ArmorOptions::default()).unwrap()
        };
        let keyring = keyring(&[&ours]);
        assert_eq!(keyring.clear_signed(both(SUMS).as_bytes(), now()).unwrap().1, Fingerprint::of(&ours.primary_key));
        let error = keyring.clear_signed(both("other").as_bytes(), now()).unwrap_err().to_string();
        let print = Fingerprint::of(&ours.primary_key);
        assert_eq!(error, format!("the signature by {print} is not over this text"));
    }

    /// Made once by `gpg` 2.2, which is not ours: a key, `--clear-sign`, `--detach-sign` with SHA-512 and with SHA-1.
    #[test]
    fn signatures_of_gpg_are_read() {
        let file = include_bytes!("fixtures/sums");
        let keyring = Keyring::read(include_str!("fixtures/key.asc")).unwrap();
        let print = "DFB17A57C88797DBCD405624C04262DC69E1120F";
        let show = |found: Result<Fingerprint, SignatureError>| {
            found.map(|key| key.to_string()).map_err(|error| error.to_string())
        };
        let (text, key) = keyring.clear_signed(include_bytes!("fixtures/clear.asc"), now()).unwrap();
        assert_eq!((text.replace("\r\n", "\n").as_bytes(), key.to_string().as_str()), (file.trim_ascii_end(), print));
        assert_eq!(show(keyring.detached(file, include_bytes!("fixtures/sha512.asc"), now())), Ok(print.to_owned()));
        assert_eq!(
            show(keyring.detached(file, include_bytes!("fixtures/sha1.asc"), now())),
            Err(format!("the signature by {print} rests on SHA1, which can be fooled"))
        );
        assert_eq!(
            show(keyring.detached(&file[1..], include_bytes!("fixtures/sha512.asc"), now())),
            Err(format!("the signature by {print} is not over this text"))
        );
    }

    #[test]
    fn fingerprints_read_as_they_are_shown() {
        let text = "D2EB44626FDDC30B513D5BB71A5D6C4C7DB87C81";
        assert_eq!(Fingerprint::parse(text).unwrap().to_string(), text);
        for bad in ["", &text[1..], &text.to_lowercase(), &format!("{text} "), "D2EB 4462"] {
            assert_eq!(Fingerprint::parse(bad), None, "{bad}");
        }
    }
}
