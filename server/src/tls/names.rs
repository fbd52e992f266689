//! The names of clients, and which of them are allowed.

use std::collections::BTreeMap;
use std::fmt;

use durum_core::config::Rights;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// The names of a certificate: its common name, and its alternative names that are host names, e-mail
/// addresses or URIs. None where it cannot be read.
pub(super) fn names(certificate: &[u8]) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
        return Vec::new();
    };
    let subject = certificate.subject();
    let mut names: Vec<String> = subject
        .iter_common_name()
        .filter_map(|name| name.as_str().ok())
        .map(str::to_owned)
        .collect();
    if let Ok(Some(alternatives)) = certificate.subject_alternative_name() {
        for name in &alternatives.value.general_names {
            if let GeneralName::DNSName(name)
            | GeneralName::RFC822Name(name)
            | GeneralName::URI(name) = name
                && !names.iter().any(|known| known == name)
            {
                names.push((*name).to_owned());
            }
        }
    }
    names
}

/// The clients that are allowed, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Allowed(BTreeMap<String, Rights>);

/// A client that is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// The name by which it is known; none where nobody asks for it.
    pub(crate) name: Option<String>,
    pub(crate) rights: Rights,
}

/// Why a client is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NotAllowed(Vec<String>);

impl Allowed {
    pub(super) fn new(clients: BTreeMap<String, Rights>) -> Allowed {
        Allowed(clients)
    }

    /// Whom a certificate stands for. Where several of its names are in the list, that with the least
    /// rights counts.
    pub(super) fn find(&self, certificate: &[u8]) -> Result<Known, NotAllowed> {
        let names = names(certificate);
        let listed = names
            .iter()
            .filter_map(|name| Some((*self.0.get(name)?, name)));
        match listed.min_by_key(|(rights, _)| *rights) {
            Some((rights, name)) => Ok(Known {
                name: Some(name.clone()),
                rights,
            }),
            None => Err(NotAllowed(names)),
        }
    }
}

impl fmt::Display for NotAllowed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [] => out.write_str("its certificate has no name"),
            // Quoted and escaped: whatever stands in the certificate, it is one line of the log.
            names => write!(
                out,
                "no name of its certificate is among the allowed clients: {names:?}"
            ),
        }
    }
}

impl std::error::Error for NotAllowed {}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn certificate(common: Option<&str>, alternatives: Vec<SanType>) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        if let Some(name) = common {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        params.subject_alt_names = alternatives;
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn all_names_of_a_certificate_are_found_once() {
        let alternatives = vec![
            SanType::DnsName("host.example".try_into().unwrap()),
            SanType::Rfc822Name("alice@example".try_into().unwrap()),
            SanType::URI("spiffe://example/alice".try_into().unwrap()),
            SanType::IpAddress([127, 0, 0, 1].into()),
            SanType::DnsName("alice".try_into().unwrap()),
        ];
        assert_eq!(
            names(&certificate(Some("alice"), alternatives)),
            [
                "alice",
                "host.example",
                "alice@example",
                "spiffe://example/alice"
            ]
        );
        assert_eq!(
            names(&certificate(Some("Älice\n\"x\""), Vec::new())),
            ["Älice\n\"x\""]
        );
        assert!(names(&certificate(None, Vec::new())).is_empty());
        assert!(names(b"\x30\x82garbage").is_empty());
    }

    #[test]
    fn a_name_is_found_exactly_and_the_least_right_counts() {
        let allowed = Allowed::new(BTreeMap::from([
            ("alice".to_owned(), Rights::ReadWrite),
            ("reader.example".to_owned(), Rights::ReadOnly),
        ]));
        let dns = |name: &str| vec![SanType::DnsName(name.try_into().unwrap())];
        let find = |common, alternatives| allowed.find(&certificate(common, alternatives));
        let rights = |common, alternatives| find(common, alternatives).map(|known| known.rights);
        assert_eq!(rights(Some("alice"), Vec::new()), Ok(Rights::ReadWrite));
        assert_eq!(rights(Some("mallory"), dns("alice")), Ok(Rights::ReadWrite));
        assert_eq!(
            find(Some("alice"), dns("reader.example")),
            Ok(Known {
                name: Some("reader.example".to_owned()),
                rights: Rights::ReadOnly
            })
        );
        for other in ["Alice", "alice ", "alic", ""] {
            assert!(rights(Some(other), Vec::new()).is_err(), "{other}");
        }
        let refused = find(Some("a\nb"), Vec::new()).unwrap_err().to_string();
        assert!(refused.ends_with(r#"clients: ["a\nb"]"#), "{refused}");
        let nobody = find(None, Vec::new()).unwrap_err().to_string();
        assert!(nobody.contains("no name"), "{nobody}");
    }
}
