//! One node, and how it does.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use durum_core::{Error, ErrorKind, Result};
use durum_server::Address;
use rustls::ClientConfig;
use tokio::time::Instant;

use crate::connect::{Target, Tls};
use crate::sigv4::Service;

/// For how long a node is avoided after its first failure; after each further one for twice as long.
const AVOID_MIN: Duration = Duration::from_millis(250);
/// No node is avoided for longer.
const AVOID_MAX: Duration = Duration::from_secs(15);

/// Where a node is reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum NodeAddress {
    /// The TLS front of `durum node run`, which speaks for all clusters of its machine.
    Front {
        /// The host, whose name the certificate has.
        host: String,
        /// The port.
        port: u16,
    },
    /// Garage itself, without encryption: for programs on its machine.
    Direct {
        /// Its K2V interface.
        k2v: Address,
        /// Its S3 interface.
        s3: Address,
    },
}

impl NodeAddress {
    /// The address of a front from `HOST:PORT`.
    ///
    /// # Errors
    /// `Usage` for anything else.
    pub fn front(text: &str) -> Result<NodeAddress> {
        match text.parse()? {
            Address::Tcp { host, port } if port > 0 => Ok(NodeAddress::Front { host, port }),
            _ => Err(Error::new(ErrorKind::Usage, "read the address of a node")
                .because(format!("`{text}` is not HOST:PORT"))),
        }
    }
}

impl std::fmt::Display for NodeAddress {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NodeAddress::Front { host, port } => Address::Tcp {
                host: host.clone(),
                port: *port,
            }
            .fmt(out),
            NodeAddress::Direct { k2v, .. } => k2v.fmt(out),
        }
    }
}

pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) address: NodeAddress,
    k2v: Arc<Target>,
    s3: Arc<Target>,
    health: Mutex<Health>,
}

/// How often it has failed in a row, and until when it is avoided for that.
#[derive(Debug, Default)]
struct Health {
    failures: u32,
    avoided_until: Option<Instant>,
}

impl Node {
    pub(crate) fn new(address: NodeAddress, tls: Option<&Arc<ClientConfig>>) -> Result<Node> {
        let (k2v, s3) = match &address {
            NodeAddress::Front { host, port } => {
                let Some(tls) = tls else {
                    return Err(Error::new(ErrorKind::Usage, "reach a node")
                        .because("its front speaks TLS, and there are no certificates"));
                };
                let tls = Tls::new(tls.clone(), host)?;
                let (host, port) = (host.clone(), *port);
                let target = Arc::new(Target::new(Address::Tcp { host, port }, Some(tls)));
                (target.clone(), target)
            }
            NodeAddress::Direct { k2v, s3 } => (
                Arc::new(Target::new(k2v.clone(), None)),
                Arc::new(Target::new(s3.clone(), None)),
            ),
        };
        Ok(Node {
            name: address.to_string(),
            address,
            k2v,
            s3,
            health: Mutex::default(),
        })
    }

    pub(crate) fn target(&self, service: Service) -> &Arc<Target> {
        match service {
            Service::K2v => &self.k2v,
            Service::S3 => &self.s3,
        }
    }

    fn health(&self) -> std::sync::MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until when it is avoided, if it is.
    pub(crate) fn avoided_until(&self, now: Instant) -> Option<Instant> {
        self.health().avoided_until.filter(|until| *until > now)
    }

    /// It is about to be asked. Where it has failed before, others go on avoiding it until it has answered: it is
    /// one request that finds out.
    pub(crate) fn asked(&self, now: Instant) {
        let mut health = self.health();
        if health.failures > 0 {
            health.avoided_until = Some(now + AVOID_MIN);
        }
    }

    pub(crate) fn worked(&self) {
        *self.health() = Health::default();
    }

    pub(crate) fn failed(&self, now: Instant) {
        let mut health = self.health();
        health.failures = health.failures.saturating_add(1);
        let factor = 1 << (health.failures - 1).min(16);
        let time = AVOID_MIN.saturating_mul(factor).min(AVOID_MAX);
        // Not all clients at once come back to it.
        let time = time.mul_f64(0.75 + fastrand::f64() / 2.0);
        health.avoided_until = Some(now + time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> Node {
        let unix = || Address::Unix("/nowhere".into());
        let address = NodeAddress::Direct {
            k2v: unix(),
            s3: unix(),
        };
        Node::new(address, None).unwrap()
    }

    #[test]
    fn a_failing_node_is_avoided_for_longer_and_longer() {
        let (node, now) = (node(), Instant::now());
        assert_eq!(node.avoided_until(now), None);
        node.failed(now);
        let first = node.avoided_until(now).unwrap() - now;
        assert!(first <= AVOID_MIN.mul_f64(1.25));
        for _ in 0..40 {
            node.failed(now);
        }
        let last = node.avoided_until(now).unwrap() - now;
        assert!(last > AVOID_MAX.mul_f64(0.7) && last <= AVOID_MAX.mul_f64(1.25));
        // When its time is over one request asks it, and the others still do not.
        let later = now + last + Duration::from_millis(1);
        assert_eq!(node.avoided_until(later), None);
        node.asked(later);
        assert!(node.avoided_until(later).is_some());
        node.worked();
        assert_eq!(node.avoided_until(later), None);
    }

    #[test]
    fn fronts_need_a_port_and_certificates() {
        assert!(NodeAddress::front("host").is_err());
        assert!(NodeAddress::front("unix:/x").is_err());
        let front = NodeAddress::front("[::1]:4000").unwrap();
        assert_eq!(front.to_string(), "[::1]:4000");
        assert!(Node::new(front, None).is_err());
    }
}
