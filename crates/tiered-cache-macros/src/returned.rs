//! What the function says it returns: which value is cached, and how its body tells that there is none.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{
    Error, GenericArgument, Path, PathArguments, PathSegment, Result, ReturnType, Signature, Type,
};

use crate::arguments::Arguments;

/// The return type, taken apart.
pub(crate) struct Returned {
    /// As written.
    pub(crate) declared: Type,
    /// What is cached.
    pub(crate) value: Type,
    shape: Shape,
    fallible: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Value,
    Option,
    Loaded,
}

impl Returned {
    pub(crate) fn of(signature: &Signature) -> Result<Self> {
        let ReturnType::Type(_, declared) = &signature.output else {
            return Err(Error::new_spanned(&signature.ident, NOTHING));
        };
        let mut inner = (**declared).clone();
        let fallible = last(&inner).is_some_and(|segment| segment.ident == "Result");
        if fallible {
            inner = first(&inner).ok_or_else(|| Error::new_spanned(declared, NO_VALUE))?;
        }
        let shape = match last(&inner) {
            Some(segment) if segment.ident == "Option" => Shape::Option,
            Some(segment) if segment.ident == "Loaded" => Shape::Loaded,
            _ => Shape::Value,
        };
        let value = match shape {
            Shape::Value => inner,
            Shape::Option | Shape::Loaded => {
                first(&inner).ok_or_else(|| Error::new_spanned(declared, NO_VALUE))?
            }
        };
        if let Type::ImplTrait(_) | Type::Reference(_) = &value {
            return Err(Error::new_spanned(&value, UNNAMED));
        }
        Ok(Self {
            declared: (**declared).clone(),
            value,
            shape,
            fallible,
        })
    }

    /// Arguments that the shape of the return type leaves no room for.
    pub(crate) fn check(&self, arguments: &Arguments) -> Result<()> {
        let negative = arguments.negative.as_ref().map(|(span, _)| *span);
        match (self.shape, negative, &arguments.ttl) {
            (Shape::Value, Some(at), _) => Err(Error::new(at, NEVER_ABSENT)),
            (Shape::Loaded, Some(at), _) => Err(Error::new(at, SAYS_ITSELF)),
            (Shape::Loaded, None, Some(ttl)) => Err(Error::new_spanned(ttl, SAYS_ITSELF)),
            _ => Ok(()),
        }
    }

    /// Turns `__body`, as the body returned it, into what a loader returns.
    pub(crate) fn convert(&self, arguments: &Arguments) -> TokenStream {
        let krate = &arguments.krate;
        let ttl = arguments.ttl.iter().map(|_| quote!(.ttl(__ttl)));
        let negative = arguments.negative.iter().map(|_| quote!(.ttl(__negative)));
        let skip = arguments
            .skip
            .iter()
            .map(|skip| quote!(.uncached_if(#skip)));
        let (ttl, skip) = (quote!(#(#ttl)*), quote!(#(#skip)*));
        let present = quote!(#krate::Loaded::value(__value) #ttl #skip);
        let convert = match self.shape {
            Shape::Value => quote!(#present),
            Shape::Option => quote! {
                match __value {
                    ::core::option::Option::Some(__value) => #present,
                    ::core::option::Option::None => #krate::Loaded::absent() #(#negative)*,
                }
            },
            Shape::Loaded => quote!(__value #skip),
        };
        if self.fallible {
            quote! { __body.map(|__value| #convert) }
        } else {
            quote! {{
                let __value = __body;
                ::core::result::Result::<_, ::core::convert::Infallible>::Ok(#convert)
            }}
        }
    }
}

fn last(of: &Type) -> Option<&PathSegment> {
    let Type::Path(path) = of else { return None };
    let Path { segments, .. } = &path.path;
    segments.last()
}

/// The first type argument.
fn first(of: &Type) -> Option<Type> {
    let PathArguments::AngleBracketed(arguments) = &last(of)?.arguments else {
        return None;
    };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::Type(of) => Some(of.clone()),
        _ => None,
    })
}

const NOTHING: &str = "`cached` goes on a function that returns something, such as \
     `Result<Option<V>, E>`";
const NO_VALUE: &str = "`cached` has to see the type of the value: write it out, as in \
     `Result<User, DbError>`";
const UNNAMED: &str = "a cached value has a named type of its own, without a borrow";
const NEVER_ABSENT: &str = "`negative` is for a body that can say that there is none: return \
     `Result<Option<V>, E>`";
const SAYS_ITSELF: &str = "the body returns `Loaded`, which says this itself";
