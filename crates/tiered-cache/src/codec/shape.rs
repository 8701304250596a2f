//! The shape of a type as serde sees it: names and types of its fields and variants. It tells types
//! apart that keep their name, so that the bytes of an older one are not read as the newer one.
//!
//! A deserialiser that has no input plays through the type with small made-up values and notes what is
//! asked of it. A type that refuses such a value (an address made of text, a list that must not be
//! empty) ends the round there: what lies behind it is not told apart, and `Policy::schema` is for that.

use std::{
    fmt::{self, Write},
    panic::{AssertUnwindSafe, catch_unwind},
};

use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess,
    SeqAccess, VariantAccess, Visitor, value::U32Deserializer,
};

use crate::hash::KeyHasher;

/// A number that differs for types of different shapes; the same in every process.
pub(crate) fn of<V: DeserializeOwned>() -> u64 {
    let mut shape = Shape {
        hasher: KeyHasher::new(0),
        variant: 0,
        variants: 1,
        steps: 0,
    };
    // One round for each variant of the widest enum.
    while shape.variant < shape.variants.min(ROUNDS) {
        shape.steps = 0;
        // The type is the user's; one that panics on a made-up value is as good as one that refuses.
        let round = catch_unwind(AssertUnwindSafe(|| {
            V::deserialize(Probe::new(&mut shape)).is_ok()
        }));
        shape.note(
            if round.unwrap_or(false) {
                "whole"
            } else {
                "ended"
            },
            "",
        );
        shape.variant += 1;
    }
    shape.hasher.finish()
}

struct Shape {
    hasher: KeyHasher,
    /// Which variant is taken of each enum in this round.
    variant: u32,
    /// Of the widest enum that was met.
    variants: u32,
    steps: u32,
}

impl Shape {
    fn note(&mut self, kind: &str, name: &str) {
        // A hasher never fails to write. The separators keep two names from looking like one.
        let _ = write!(self.hasher, "{kind}\u{1f}{name}\u{1e}");
    }
}

/// Stands for the input; one for each value that is asked for.
struct Probe<'a> {
    shape: &'a mut Shape,
    depth: u32,
}

impl<'a> Probe<'a> {
    fn new(shape: &'a mut Shape) -> Self {
        Self { shape, depth: 0 }
    }

    /// Notes what was asked for; refuses when it was enough, as for a type that contains itself.
    fn asked(self, kind: &str, name: &str, names: &[&str]) -> Result<Inner<'a>, Refused> {
        self.shape.note(kind, name);
        names.iter().for_each(|name| self.shape.note("name", name));
        self.shape.steps += 1;
        if self.shape.steps > STEPS || self.depth > DEPTH {
            return Err(Refused);
        }
        Ok(Inner {
            shape: self.shape,
            depth: self.depth + 1,
            left: 1,
        })
    }
}

/// What a value contains: so many made-up values, or one variant.
struct Inner<'a> {
    shape: &'a mut Shape,
    depth: u32,
    left: usize,
}

impl Inner<'_> {
    fn of(mut self, left: usize) -> Self {
        self.left = left;
        self
    }

    fn probe(&mut self) -> Probe<'_> {
        Probe {
            shape: self.shape,
            depth: self.depth,
        }
    }
}

macro_rules! plain {
    ($($asked:ident $visit:ident $value:expr,)*) => {$(
        fn $asked<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
            self.asked(stringify!($asked), "", &[])?;
            visitor.$visit($value)
        }
    )*};
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Refused;

    plain! {
        deserialize_bool visit_bool false,
        deserialize_i8 visit_i8 1,
        deserialize_i16 visit_i16 1,
        deserialize_i32 visit_i32 1,
        deserialize_i64 visit_i64 1,
        deserialize_i128 visit_i128 1,
        deserialize_u8 visit_u8 1,
        deserialize_u16 visit_u16 1,
        deserialize_u32 visit_u32 1,
        deserialize_u64 visit_u64 1,
        deserialize_u128 visit_u128 1,
        deserialize_f32 visit_f32 1.0,
        deserialize_f64 visit_f64 1.0,
        deserialize_char visit_char '1',
        deserialize_str visit_str "1",
        deserialize_string visit_str "1",
        // As long as most identifiers.
        deserialize_bytes visit_bytes &[1; 16],
        deserialize_byte_buf visit_bytes &[1; 16],
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        let mut inner = self.asked("option", "", &[])?;
        // Where a type contains itself, an option is where it ends.
        if inner.depth > DEPTH / 2 {
            visitor.visit_none()
        } else {
            visitor.visit_some(inner.probe())
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.asked("unit", "", &[])?;
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.asked("unit struct", name, &[])?;
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        visitor.visit_newtype_struct(self.asked("newtype", name, &[])?.probe())
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        let inner = self.asked("seq", "", &[])?;
        let len = usize::from(inner.depth <= DEPTH / 2);
        visitor.visit_seq(inner.of(len))
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        visitor.visit_seq(self.asked("tuple", "", &[])?.of(len))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        visitor.visit_seq(self.asked("tuple struct", name, &[])?.of(len))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        let inner = self.asked("map", "", &[])?;
        let len = usize::from(inner.depth <= DEPTH / 2);
        visitor.visit_map(inner.of(len))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        visitor.visit_seq(self.asked("struct", name, fields)?.of(fields.len()))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        let inner = self.asked("enum", name, variants)?;
        let count = u32::try_from(variants.len()).unwrap_or(ROUNDS).max(1);
        inner.shape.variants = inner.shape.variants.max(count);
        visitor.visit_enum(inner.of(variants.len().max(1)))
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Refused> {
        self.asked("identifier", "", &[])?;
        Err(Refused)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Refused> {
        self.asked("any", "", &[])?;
        Err(Refused)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.asked("ignored", "", &[])?;
        visitor.visit_unit()
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

impl<'de> SeqAccess<'de> for Inner<'_> {
    type Error = Refused;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Refused> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(self.probe()).map(Some)
    }
}

impl<'de> MapAccess<'de> for Inner<'_> {
    type Error = Refused;

    fn next_key_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Refused> {
        self.next_element_seed(seed)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Refused> {
        seed.deserialize(self.probe())
    }
}

impl<'de> EnumAccess<'de> for Inner<'_> {
    type Error = Refused;
    type Variant = Self;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self), Refused> {
        let last = u32::try_from(self.left - 1).unwrap_or(u32::MAX);
        let variant = self.shape.variant.min(last);
        let variant: U32Deserializer<Refused> = variant.into_deserializer();
        Ok((seed.deserialize(variant)?, self))
    }
}

impl<'de> VariantAccess<'de> for Inner<'_> {
    type Error = Refused;

    fn unit_variant(self) -> Result<(), Refused> {
        self.shape.note("unit variant", "");
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(
        mut self,
        seed: T,
    ) -> Result<T::Value, Refused> {
        seed.deserialize(self.probe())
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Refused> {
        self.shape.note("tuple variant", "");
        visitor.visit_seq(self.of(len))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        fields.iter().for_each(|name| self.shape.note("name", name));
        visitor.visit_seq(self.of(fields.len()))
    }
}

/// The end of a round.
#[derive(Debug)]
struct Refused;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the made-up value was refused")
    }
}

impl std::error::Error for Refused {}

impl serde::de::Error for Refused {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

/// Of one round; a type that contains itself more than once would go on for ever.
const STEPS: u32 = 10_000;
const DEPTH: u32 = 32;
const ROUNDS: u32 = 64;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::of;

    /// The shapes of types that differ in one thing only, from the body of `struct User`.
    macro_rules! shapes {
        ($($body:item)*) => {[$({ $body of::<User>() }),*]};
    }

    #[test]
    fn types_that_differ_in_anything_have_different_shapes() {
        let shapes = shapes! {
            #[derive(Deserialize)] #[expect(dead_code, reason = "a shape")] struct User { id: u64, name: String }
            #[derive(Deserialize)] #[expect(dead_code, reason = "a shape")] struct User { name: String, id: u64 }
            #[derive(Deserialize)] #[expect(dead_code, reason = "a shape")] struct User { id: u64, title: String }
            #[derive(Deserialize)] #[expect(dead_code, reason = "a shape")] struct User { id: u32, name: String }
            #[derive(Deserialize)] #[expect(dead_code, reason = "a shape")] struct User { id: i64, name: String }
            #[derive(Deserialize)] #[expect(dead_code, reason = "a shape")] struct User { id: u64, name: Option<String> }
            #[derive(Deserialize)] #[expect(dead_code, reason = "a shape")] struct User { id: u64, name: Vec<String> }
            #[derive(Deserialize)] #[expect(dead_code, reason = "a shape")] struct User { id: u64, name: BTreeMap<u8, bool> }
            #[derive(Deserialize)] #[expect(dead_code, reason = "a shape")] struct User { id: u64, name: BTreeMap<u8, char> }
            #[derive(Deserialize)] #[expect(dead_code, reason = "a shape")] struct User { id: u64, name: (u8, u8) }
            #[derive(Deserialize)] #[expect(dead_code, reason = "a shape")] struct User { id: u64, name: String, age: u8 }
            #[derive(Deserialize)] #[expect(dead_code, reason = "a shape")] struct User(u64, String);
            #[derive(Deserialize)] #[expect(dead_code, reason = "a shape")] struct User(u64);
            #[derive(Deserialize)] #[expect(dead_code, reason = "a shape")] enum User { Id(u64), Name(String) }
            #[derive(Deserialize)] #[expect(dead_code, reason = "a shape")] enum User { Id(u64), Name(u64) }
            #[derive(Deserialize)] #[expect(dead_code, reason = "a shape")] enum User { Name(u64), Id(u64) }
            #[derive(Deserialize)] #[expect(dead_code, reason = "a shape")] enum User { Id(u64), Name { text: String } }
            #[derive(Deserialize)] #[expect(dead_code, reason = "a shape")] enum User { Id(u64), Name { text: u8 } }
            #[derive(Deserialize)] #[expect(dead_code, reason = "a shape")] enum User { Id(u64), Name(String), Nobody }
        };
        for (at, shape) in shapes.iter().enumerate() {
            let same = shapes.iter().position(|other| other == shape);
            assert_eq!(same, Some(at), "the types at these places look alike");
        }
    }

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only its shape is looked at")]
    enum Tree {
        Leaf(u8),
        Node(Box<Self>, Box<Self>),
        List(Vec<Self>, Option<Box<Self>>),
    }

    #[derive(Debug)]
    struct Panics;

    impl<'de> Deserialize<'de> for Panics {
        fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            let number = u8::deserialize(from)?;
            assert_ne!(number, 1, "no made-up values");
            Ok(Self)
        }
    }

    #[test]
    fn types_that_contain_themselves_refuse_or_panic_have_a_shape_too() {
        assert_eq!(of::<Tree>(), of::<Tree>());
        assert_ne!(of::<Tree>(), of::<Vec<Tree>>());
        assert_ne!(of::<std::net::IpAddr>(), of::<String>());
        assert_ne!(of::<serde_json::Value>(), of::<String>());
        assert_ne!(of::<Panics>(), of::<u8>());
        assert_ne!(of::<(u8, Panics)>(), of::<(u16, Panics)>());
    }

    #[test]
    fn a_shape_is_the_same_in_every_build() {
        // Another number here means that all values on disk and in Redis are misses after an update.
        let shape = format!("{:016x}", of::<(u64, Vec<Option<String>>)>());
        expect_test::expect!["1e6bc4896218044f"].assert_eq(&shape);
    }
}
