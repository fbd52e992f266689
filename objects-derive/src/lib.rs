//! `#[derive(Persistent)]`: makes a serde struct or enum one that is stored as an object of its own.
//!
//! Its documentation is at `durum_objects::Persistent`.

#![forbid(unsafe_code)]

use proc_macro2::TokenStream;
use quote::quote;
use syn::parse::{Parse, ParseStream};
use syn::{Data, DeriveInput, Expr, Fields, Ident, LitInt, LitStr, Meta, Path, Token};

/// Implements `durum_objects::Persistent`.
///
/// The attribute `#[persistent(...)]` takes
/// - `name = "..."`: the type's name on disk, which must never change; without it that of the struct;
/// - `version = N`: the schema's version, 1 without it;
/// - `upgrade_from(N, function)`: makes this version of version N: a function of the old struct that returns
///   the new one, or a `Result` of it; one for each old version that is still to be read;
/// - `merge = function`: `fn(base: &T, mine: &T, theirs: &T) -> Option<T>`, which resolves conflicts;
/// - `crate = path`: where `durum_objects` is, if it is not a direct dependency.
#[proc_macro_derive(Persistent, attributes(persistent))]
pub fn derive_persistent(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    derive(input, &quote!(::durum_objects))
}

/// As `Persistent`, for programs that know `durum_objects` as `durum::objects`, which has this under that name.
#[proc_macro_derive(PersistentInFacade, attributes(persistent))]
pub fn derive_persistent_in_facade(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    derive(input, &quote!(::durum::objects))
}

fn derive(input: proc_macro::TokenStream, home: &TokenStream) -> proc_macro::TokenStream {
    let input = syn::parse_macro_input!(input as DeriveInput);
    expand(&input, home)
        .unwrap_or_else(|error| error.to_compile_error())
        .into()
}

#[derive(Default)]
struct Options {
    name: Option<LitStr>,
    version: Option<LitInt>,
    upgrades: Vec<Upgrade>,
    merge: Option<Expr>,
    home: Option<Path>,
}

struct Upgrade {
    from: LitInt,
    function: Expr,
}

impl Parse for Upgrade {
    fn parse(input: ParseStream<'_>) -> syn::Result<Upgrade> {
        let from = input.parse()?;
        let incomplete = |error: syn::Error| {
            let message =
                "expected upgrade_from(VERSION, function), with a function of the old struct";
            syn::Error::new(error.span(), message)
        };
        input.parse::<Token![,]>().map_err(incomplete)?;
        let function = input.parse().map_err(incomplete)?;
        input.parse::<Option<Token![,]>>()?;
        Ok(Upgrade { from, function })
    }
}

impl Options {
    fn of(input: &DeriveInput) -> syn::Result<Options> {
        let mut options = Options::default();
        for attribute in &input.attrs {
            if attribute.path().is_ident("persistent") {
                if let Meta::Path(path) = &attribute.meta {
                    let message =
                        "expected options, such as #[persistent(name = \"bank.Account\")]";
                    return Err(syn::Error::new_spanned(path, message));
                }
                attribute.parse_nested_meta(|meta| options.take(&meta))?;
            }
        }
        options.check()?;
        Ok(options)
    }

    fn take(&mut self, meta: &syn::meta::ParseNestedMeta<'_>) -> syn::Result<()> {
        if meta.path.is_ident("name") {
            once(meta, &mut self.name, meta.value()?.parse()?)
        } else if meta.path.is_ident("version") {
            once(meta, &mut self.version, meta.value()?.parse()?)
        } else if meta.path.is_ident("merge") {
            once(meta, &mut self.merge, meta.value()?.parse()?)
        } else if meta.path.is_ident("crate") {
            once(meta, &mut self.home, meta.value()?.parse()?)
        } else if meta.path.is_ident("upgrade_from") {
            if !meta.input.peek(syn::token::Paren) {
                return Err(meta.error("expected upgrade_from(VERSION, function)"));
            }
            let content;
            syn::parenthesized!(content in meta.input);
            self.upgrades.push(content.parse()?);
            Ok(())
        } else {
            Err(meta.error("expected name, version, upgrade_from(...), merge or crate"))
        }
    }

    fn version(&self) -> syn::Result<u32> {
        self.version.as_ref().map_or(Ok(1), LitInt::base10_parse)
    }

    /// What would come to light only when an old object is loaded is an error here.
    fn check(&self) -> syn::Result<()> {
        if let Some(name) = self.name.as_ref().filter(|name| name.value().is_empty()) {
            return Err(syn::Error::new(name.span(), "the name is empty"));
        }
        let version = self.version()?;
        if let Some(given) = self.version.as_ref().filter(|_| version == 0) {
            return Err(syn::Error::new(given.span(), "versions begin with 1"));
        }
        let mut seen = Vec::new();
        for upgrade in &self.upgrades {
            let from: u32 = upgrade.from.base10_parse()?;
            if from >= version {
                let message = match &self.version {
                    Some(_) => format!("the type is of version {version}: upgrade from older ones"),
                    None => format!(
                        "the type needs a version after this one: version = {}",
                        u64::from(from) + 1
                    ),
                };
                return Err(syn::Error::new(upgrade.from.span(), message));
            }
            if seen.contains(&from) {
                let message = "there is an upgrade from this version already";
                return Err(syn::Error::new(upgrade.from.span(), message));
            }
            seen.push(from);
        }
        Ok(())
    }
}

fn once<T>(
    meta: &syn::meta::ParseNestedMeta<'_>,
    place: &mut Option<T>,
    value: T,
) -> syn::Result<()> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(meta.error("given twice")),
    }
}

fn expand(input: &DeriveInput, home: &TokenStream) -> syn::Result<TokenStream> {
    let options = Options::of(input)?;
    let home = match &options.home {
        Some(path) => quote!(#path),
        None => home.clone(),
    };
    let ident = &input.ident;
    let name = match &options.name {
        Some(name) => name.value(),
        None => ident.to_string(),
    };
    if let Some(parameter) = input.generics.type_params().next() {
        return Err(syn::Error::new_spanned(
            parameter,
            "a stored type has one name and one form: make a type of its own for each, which contains the generic one",
        ));
    }
    let version = options.version()?;
    let shape = shape(input, &home)?;
    let upgrades = options.upgrades.iter().map(|upgrade| {
        let (from, function) = (&upgrade.from, &upgrade.function);
        quote! { #from => #home::Upgraded::finish((#function)(stored.decode()?), stored), }
    });
    let merge = options.merge.as_ref().map(|function| {
        quote! {
            fn merge(base: &Self, mine: &Self, theirs: &Self) -> ::core::option::Option<Self> {
                (#function)(base, mine, theirs)
            }
        }
    });
    let (generics, arguments, conditions) = input.generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #generics #home::Persistent for #ident #arguments
        #conditions
        {
            const NAME: &'static str = #name;
            const VERSION: u32 = #version;
            const SHAPE: #home::Shape = #shape;

            fn upgrade(stored: &#home::Stored<'_>) -> #home::Result<Self> {
                match stored.version() {
                    #(#upgrades)*
                    _ => ::core::result::Result::Err(stored.unknown()),
                }
            }

            #merge
        }
    })
}

/// The names of fields and variants, which objects do not repeat.
fn shape(input: &DeriveInput, home: &TokenStream) -> syn::Result<TokenStream> {
    let names = |fields: &Fields| -> syn::Result<Vec<String>> {
        let mut names = Vec::new();
        for field in fields {
            if let (false, Some(name)) = (is_skipped(field)?, &field.ident) {
                names.push(name.to_string().trim_start_matches("r#").to_owned());
            }
        }
        Ok(names)
    };
    match &input.data {
        Data::Struct(data) => {
            let names = names(&data.fields)?;
            Ok(quote!(#home::Shape::Struct(&[#(#names),*])))
        }
        Data::Enum(data) => {
            if serde_names(&input.attrs).iter().any(|it| it == "untagged") {
                return Err(syn::Error::new_spanned(
                    &input.ident,
                    "variants without tags cannot be told apart: fields have no names in stored objects",
                ));
            }
            let mut variants = Vec::new();
            for variant in &data.variants {
                let name = variant.ident.to_string();
                let fields = names(&variant.fields)?;
                variants.push(quote!((#name, &[#(#fields),*])));
            }
            Ok(quote!(#home::Shape::Enum(&[#(#variants),*])))
        }
        Data::Union(_) => Err(syn::Error::new_spanned(
            &input.ident,
            "a union cannot be stored: serde cannot tell which of its fields is there",
        )),
    }
}

/// Whether serde leaves the field out; an error where it does so in one direction only, or now and then: fields
/// have no names in stored objects.
fn is_skipped(field: &syn::Field) -> syn::Result<bool> {
    let names = serde_names(&field.attrs);
    let has = |name: &str| names.iter().any(|it| it == name);
    if has("skip_serializing_if") {
        return Err(syn::Error::new_spanned(
            field,
            "a field that is left out now and then would shift those behind it: store it always, or #[serde(skip)] it",
        ));
    }
    let (written, read) = (!has("skip_serializing"), !has("skip_deserializing"));
    if written != read {
        return Err(syn::Error::new_spanned(
            field,
            "the field must be both written and read, or neither: use #[serde(skip)]",
        ));
    }
    Ok(has("skip") || !written)
}

/// The names of what is in `#[serde(...)]`.
fn serde_names(attributes: &[syn::Attribute]) -> Vec<String> {
    let mut names = Vec::new();
    for attribute in attributes.iter().filter(|it| it.path().is_ident("serde")) {
        // What serde does not understand is for serde to report.
        let _ = attribute.parse_nested_meta(|meta| {
            names.extend(meta.path.get_ident().map(Ident::to_string));
            if meta.input.peek(Token![=]) {
                meta.value()?.parse::<Expr>()?;
            } else if meta.input.peek(syn::token::Paren) {
                let content;
                syn::parenthesized!(content in meta.input);
                content.parse::<TokenStream>()?;
            }
            Ok(())
        });
    }
    names
}
