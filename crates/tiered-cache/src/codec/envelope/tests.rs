//! An envelope comes back as it was sealed, or not at all.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::{Body, Envelope, Header, Identity, OpenedContent, Parts, Reject, Unkept};
use crate::{
    codec::{Codec, Compression, Format},
    coherence::Version,
    memory::Times,
    policy::Policy,
};

const NOW: u64 = 1_000_000;

const TIMES: Times = Times {
    filled: NOW,
    refresh_from: NOW + 50,
    fresh_until: NOW + 100,
    revalidate_until: NOW + 200,
    keep_until: NOW + 300,
    idle_ms: 7,
    cost_ms: 3,
};

const HEADER: Header<'static> = Header {
    origin: 3,
    version: Version(7),
    times: TIMES,
    tags: &[11, 12],
    validator: Some("etag-1"),
};

const IDENTITY: Identity<'static> = Identity {
    namespace: "shop",
    cache: "users",
    epoch: 0,
    schema: 0,
};

fn policy(compression: Compression) -> Policy {
    Policy {
        compression,
        compress_above: 100,
        ..Policy::default()
    }
}

fn envelope<V: 'static>(compression: Compression) -> Envelope<V>
where
    Format: Codec<V>,
{
    Envelope::new::<u64>(Arc::new(Format::Postcard), &IDENTITY, &policy(compression))
}

fn texts() -> Vec<String> {
    (0..40).map(|number| format!("text {number}")).collect()
}

fn sealed(envelope: &Envelope<Vec<String>>, value: &Vec<String>) -> Bytes {
    let body = envelope.encode(value).expect("it can be encoded");
    envelope.seal(&body, "key", &HEADER)
}

fn all() -> Vec<Compression> {
    vec![
        Compression::None,
        Compression::Lz4,
        #[cfg(feature = "zstd")]
        Compression::Zstd,
    ]
}

#[test]
fn what_was_sealed_is_opened_with_all_that_was_said_of_it() {
    let mut sizes = Vec::new();
    for compression in all() {
        let envelope = envelope(compression);
        let bytes = sealed(&envelope, &texts());
        let opened = envelope.open(&bytes, "key", NOW).expect("it is whole");
        assert_eq!(opened.content, OpenedContent::Value(texts()));
        assert_eq!((opened.origin, opened.version), (3, Version(7)));
        assert_eq!(opened.times, TIMES);
        assert_eq!(&*opened.tags, &[11, 12]);
        assert_eq!(opened.validator.as_deref(), Some("etag-1"));
        let body = envelope.encode(&texts()).expect("it can be encoded");
        assert_eq!(opened.raw_len, body.raw_len());
        assert_eq!(envelope.unpack(&body.packed()), Ok(texts()));
        sizes.push(bytes.len());
    }
    assert!(sizes[1] < sizes[0], "LZ4 made it smaller: {sizes:?}");
}

#[test]
fn one_body_is_sealed_for_each_tier() {
    let envelope = envelope(Compression::Lz4);
    let body = envelope.encode(&texts()).expect("it can be encoded");
    for (origin, version) in [(1, 1), (u64::MAX, (1 << 53) - 1)] {
        let header = Header {
            origin,
            version: Version(version),
            tags: &[],
            validator: None,
            ..HEADER
        };
        let bytes = envelope.seal(&body, "key", &header);
        let opened = envelope.open(&bytes, "key", NOW).expect("it is whole");
        assert_eq!((opened.origin, opened.version.0), (origin, version));
        assert_eq!((opened.tags.len(), opened.validator), (0, None));
        assert_eq!(opened.content, OpenedContent::Value(texts()));
    }
}

#[test]
fn absence_has_no_body_and_damage_never_makes_it() {
    let envelope = envelope::<Vec<String>>(Compression::Lz4);
    let bytes = envelope.seal(&Body::absent(), "key", &HEADER);
    let opened = envelope.open(&bytes, "key", NOW).expect("it is whole");
    assert_eq!(opened.content, OpenedContent::Absent);
    assert_eq!(opened.raw_len, 0);
}

#[test]
fn every_bit_flip_and_every_truncation_is_invalid() {
    for compression in all() {
        let envelope = envelope(compression);
        let absent = envelope.seal(&Body::absent(), "key", &HEADER);
        for bytes in [sealed(&envelope, &texts()), absent] {
            let damaged = |bytes: Vec<u8>| envelope.open(&bytes.into(), "key", NOW).err();
            for len in 0..bytes.len() {
                assert_eq!(
                    damaged(bytes[..len].to_vec()),
                    Some(Reject::Invalid),
                    "{len}"
                );
            }
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.to_vec();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(damaged(flipped), Some(Reject::Invalid), "bit {bit}");
            }
            let longer = [&bytes[..], &[0]].concat();
            assert_eq!(damaged(longer), Some(Reject::Invalid));
        }
    }
}

#[test]
fn whatever_is_not_this_cache_s_entry_is_foreign() {
    let ours = envelope(Compression::None);
    let bytes = sealed(&ours, &texts());
    assert_eq!(ours.open(&bytes, "other", NOW).err(), Some(Reject::Foreign));
    let default = policy(Compression::None);
    let postcard = || Arc::new(Format::Postcard);
    let other = |codec, identity: Identity<'_>| {
        let other = Envelope::<Vec<String>>::new::<u64>(codec, &identity, &default);
        other.open(&bytes, "key", NOW).err()
    };
    assert_eq!(other(postcard(), IDENTITY), None);
    assert_eq!(
        other(Arc::new(Format::MessagePack), IDENTITY),
        Some(Reject::Foreign)
    );
    let identities = [
        Identity {
            namespace: "shopx",
            ..IDENTITY
        },
        Identity {
            cache: "teams",
            ..IDENTITY
        },
        // The same letters, divided otherwise.
        Identity {
            namespace: "shopu",
            cache: "sers",
            ..IDENTITY
        },
        Identity {
            epoch: 1,
            ..IDENTITY
        },
        Identity {
            schema: 1,
            ..IDENTITY
        },
        // The same numbers, in other places.
        Identity {
            epoch: 0,
            schema: 7,
            ..IDENTITY
        },
        Identity {
            epoch: 7,
            schema: 0,
            ..IDENTITY
        },
    ];
    for identity in identities {
        assert_eq!(
            other(postcard(), identity),
            Some(Reject::Foreign),
            "{identity:?}"
        );
    }
    let of_other_keys = Envelope::<Vec<String>>::new::<String>(postcard(), &IDENTITY, &default);
    assert_eq!(
        of_other_keys.open(&bytes, "key", NOW).err(),
        Some(Reject::Foreign)
    );
    let of_other_values = Envelope::<Vec<char>>::new::<u64>(postcard(), &IDENTITY, &default);
    assert_eq!(
        of_other_values.open(&bytes, "key", NOW).err(),
        Some(Reject::Foreign)
    );
}

/// Goal: the same name and schema, other fields, as after a deploy. Method: both types are called
/// `User` in modules of the same depth, and the fingerprint is made of the shape alone.
#[test]
fn a_deploy_that_changed_the_fields_of_a_type_is_a_miss() {
    mod before {
        #[derive(Debug, serde::Serialize, serde::Deserialize)]
        pub(super) struct User {
            pub(super) id: u32,
            pub(super) team: u32,
        }
    }
    mod after {
        #[derive(Debug, serde::Serialize, serde::Deserialize)]
        pub(super) struct User {
            pub(super) team: u32,
            pub(super) id: u32,
        }
    }
    let user = before::User { id: 1, team: 2 };
    let bytes = Codec::encode(&Format::Postcard, &user).expect("it can be encoded");
    let mixed_up: after::User = Format::Postcard.decode(&bytes).expect("the bytes fit both");
    assert_eq!(
        (mixed_up.id, mixed_up.team),
        (2, 1),
        "so something must tell them apart"
    );
    let before = Codec::<before::User>::fingerprint(&Format::Postcard);
    let after = Codec::<after::User>::fingerprint(&Format::Postcard);
    assert_ne!(before, after);
}

#[test]
fn an_entry_ends_with_its_last_use_and_a_clock_ahead_prolongs_nothing() {
    let envelope = envelope(Compression::None);
    let bytes = sealed(&envelope, &texts());
    assert!(envelope.open(&bytes, "key", NOW + 299).is_ok());
    let over = envelope.open(&bytes, "key", NOW + 300);
    assert_eq!(over.err(), Some(Reject::Stale));
    let behind = envelope
        .open(&bytes, "key", NOW - 1_000)
        .expect("it is whole");
    assert_eq!(behind.times.filled, NOW - 1_000);
    assert_eq!(behind.times.fresh_until, NOW - 900);
    assert_eq!(behind.times.keep_until, NOW - 700);
}

#[test]
fn a_value_over_the_limit_is_not_encoded_and_no_longer_one_is_unpacked() {
    let sized = |max_value_bytes, compression| -> Envelope<String> {
        let policy = Policy {
            max_value_bytes,
            ..policy(compression)
        };
        Envelope::new::<u64>(Arc::new(Format::Postcard), &IDENTITY, &policy)
    };
    let text = "x".repeat(1_000);
    let encoded = text.len() + 2;
    for compression in all() {
        let enough = sized(encoded, compression);
        let body = enough.encode(&text).expect("just right");
        let bytes = enough.seal(&body, "key", &HEADER);
        assert!(enough.open(&bytes, "key", NOW).is_ok());
        let less = sized(encoded - 1, compression);
        assert_eq!(less.encode(&text).err(), Some(Unkept::TooLarge));
        assert_eq!(less.open(&bytes, "key", NOW).err(), Some(Reject::Foreign));
        // A few bytes that say they are 2^63: refused by the length alone.
        let mut bomb = vec![body.packed()[0]];
        super::put_number(&mut bomb, 1 << 63);
        bomb.extend_from_slice(&body.packed()[3..]);
        assert_eq!(enough.unpack(&bomb), Err(Reject::Foreign));
    }
}

#[test]
fn tags_and_validators_without_end_are_bounded() {
    let envelope = envelope::<Vec<String>>(Compression::None);
    let tags: Vec<u64> = (0..5_000).collect();
    let validator = "x".repeat(1_025);
    let header = Header {
        tags: &tags,
        validator: Some(&validator),
        ..HEADER
    };
    let bytes = envelope.seal(&Body::absent(), "key", &header);
    let opened = envelope.open(&bytes, "key", NOW).expect("it is whole");
    assert_eq!(opened.tags.len(), super::TAGS_MAX);
    assert_eq!(opened.validator, None);
}

/// The figures of the module's documentation.
#[test]
fn the_overhead_of_an_entry_is_small() {
    let envelope = envelope::<u64>(Compression::Lz4);
    let filled = 1_800_000_000_000;
    let policy = Policy::default();
    let plain = Header {
        origin: u64::MAX,
        version: Version((1 << 53) - 1),
        times: policy.times(&Default::default(), filled, std::time::Duration::ZERO, 0.5),
        tags: &[],
        validator: None,
    };
    let body = envelope.encode(&7).expect("it can be encoded");
    let overhead = |header| envelope.seal(&body, "key", header).len() - "key".len() - 1;
    let tagged = Header {
        tags: &[1, 2],
        ..plain
    };
    assert_eq!((overhead(&plain), overhead(&tagged)), (55, 71));
}

fn any_times() -> impl Strategy<Value = Times> {
    (any::<[u64; 4]>(), any::<u64>(), any::<u64>(), any::<u32>()).prop_map(
        |(mut ends, refresh, idle_ms, cost_ms)| {
            ends.sort_unstable();
            let [filled, fresh_until, revalidate_until, keep_until] = ends;
            Times {
                filled,
                refresh_from: refresh.max(filled),
                fresh_until,
                revalidate_until,
                keep_until,
                idle_ms,
                cost_ms,
            }
        },
    )
}

proptest! {
    #[test]
    fn every_entry_comes_back_as_it_was(
        value in any::<Vec<String>>(),
        key in "\\PC{0,200}",
        origin in any::<u64>(),
        version in any::<u64>(),
        times in any_times(),
        tags in proptest::collection::vec(any::<u64>(), 0..40),
        validator in proptest::option::of("\\PC{0,100}"),
    ) {
        let envelope = envelope(Compression::Lz4);
        let body = envelope.encode(&value).expect("it can be encoded");
        let header = Header {
            origin,
            version: Version(version),
            times,
            tags: &tags,
            validator: validator.as_deref(),
        };
        let bytes = envelope.seal(&body, &key, &header);
        match envelope.open(&bytes, &key, times.filled) {
            Ok(opened) => {
                prop_assert_eq!(opened.content, OpenedContent::Value(value));
                prop_assert_eq!(opened.times, times);
                prop_assert_eq!(&*opened.tags, &*tags);
                prop_assert_eq!(opened.validator.as_deref(), validator.as_deref());
                prop_assert_eq!((opened.origin, opened.version), (origin, Version(version)));
            }
            Err(reject) => {
                prop_assert_eq!(reject, Reject::Stale);
                prop_assert_eq!(times.keep_until, times.filled);
            }
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let envelope = envelope::<Vec<String>>(Compression::Lz4);
        let ours = [super::MAGIC, &bytes[..]].concat();
        for bytes in [bytes.clone(), ours] {
            // Past the checksum, which random bytes do not have.
            let _ = Parts::parse(&bytes);
            let _ = envelope.unpack(&bytes);
            let opened = envelope.open(&bytes.into(), "key", NOW);
            prop_assert_eq!(opened.err(), Some(Reject::Invalid));
        }
    }

    #[test]
    fn several_damaged_bytes_are_invalid_or_still_the_value(
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let envelope = envelope(Compression::Lz4);
        let whole = sealed(&envelope, &texts());
        let mut bytes = whole.to_vec();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        // What the parser and the decoder make of it without the checksum must not panic either.
        if let Some((parts, _)) = Parts::parse(&bytes) {
            let _ = envelope.unpack(parts.body);
        }
        let same = bytes == whole;
        let opened = envelope.open(&bytes.into(), "key", NOW);
        prop_assert_eq!(opened.is_ok(), same);
    }
}
