//! What goes wrong with a node, and what follows from all nodes' failures for the request.

use std::fmt;
use std::time::Duration;

use durum_core::{Error, ErrorKind};

/// How much of a server's message is shown.
const MESSAGE_MAX: usize = 300;

/// What a front says where Garage does not run behind it.
pub const ABSENT: &str = "GarageAbsent";

/// Why one node did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No connection came about.
    Connect(String),
    /// The connection was lost, or what came over it is no HTTP.
    Lost(String),
    /// It did not answer in time.
    Late(Duration),
    /// It answered with an error.
    Status {
        status: u16,
        /// Garage's word for it.
        code: String,
        message: String,
    },
    /// Its answer is longer than it may be.
    TooLong(usize),
}

impl Fault {
    /// Whether any other node would answer the same, so that there is no use in asking.
    ///
    /// That a bucket or an access key is unknown is not final: nodes learn of them one after the other, and one
    /// that was removed has forgotten them.
    pub(crate) fn is_final(&self) -> bool {
        match self {
            Fault::Status { status, code, .. } => match status {
                404 => code != "NoSuchBucket",
                403 | 408 | 425 | 429 => false,
                status => *status < 500,
            },
            Fault::TooLong(_) => true,
            _ => false,
        }
    }

    /// Whether the same request can succeed a little later.
    pub(crate) fn is_passing(&self) -> bool {
        !self.is_final() && !self.is_refusal() && !self.is_absence()
    }

    /// Whether it is certain that nothing was done.
    pub(crate) fn left_all_as_it_was(&self) -> bool {
        match self {
            Fault::Connect(_) => true,
            // A front that runs, and Garage behind it does not.
            Fault::Status { code, .. } if code == ABSENT => true,
            _ => self.is_refusal(),
        }
    }

    fn is_refusal(&self) -> bool {
        match self {
            Fault::Status { status, code, .. } => {
                *status == 403 || *status == 401 || code == "AuthorizationHeaderMalformed"
            }
            _ => false,
        }
    }

    /// Whether what was asked for does not exist.
    pub(crate) fn is_absence(&self) -> bool {
        matches!(self, Fault::Status { status: 404, .. })
    }

    fn is_without_quorum(&self) -> bool {
        // Garage has this status for a quorum that it does not reach, and for nodes that do not answer it.
        matches!(self, Fault::Status { status: 503, .. })
    }

    /// An answer's status and body as a fault.
    pub(crate) fn of_answer(status: u16, body: &[u8]) -> Fault {
        let (code, message) = crate::answer::error(body);
        Fault::Status {
            status,
            code,
            message: message.chars().take(MESSAGE_MAX).collect(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Connect(why) => write!(out, "no connection ({why})"),
            Fault::Lost(why) => write!(out, "the connection was lost ({why})"),
            Fault::Late(time) => write!(out, "no answer within {:.1} s", time.as_secs_f64()),
            Fault::Status {
                status,
                code,
                message,
            } => {
                write!(out, "status {status}")?;
                if !code.is_empty() {
                    write!(out, " {}", code.escape_debug())?;
                }
                if !message.is_empty() {
                    write!(out, " ({})", message.escape_debug())?;
                }
                Ok(())
            }
            Fault::TooLong(limit) => write!(out, "its answer is longer than {limit} bytes"),
        }
    }
}

/// A node that was tried, and why it failed.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) node: String,
    pub(crate) fault: Fault,
}

/// The error of a request that no node has fulfilled.
pub(crate) fn verdict(doing: &'static str, attempts: &[Attempt]) -> Error {
    let each: Vec<String> = attempts
        .iter()
        .map(|attempt| format!("{}: {}", attempt.node, attempt.fault))
        .collect();
    let each = each.join("; ");
    let any = |what: fn(&Fault) -> bool| attempts.iter().any(|attempt| what(&attempt.fault));
    let (kind, why, hint) = if let Some(last) = attempts.iter().find(|it| it.fault.is_final()) {
        let kind = match &last.fault {
            Fault::TooLong(_) => ErrorKind::TooLarge,
            fault if fault.is_absence() => ErrorKind::NotFound,
            fault if fault.is_refusal() => ErrorKind::Refused,
            Fault::Status { status: 409, .. } => ErrorKind::Exists,
            _ => ErrorKind::Usage,
        };
        (kind, "", "")
    } else if any(Fault::is_without_quorum) {
        let hint = "Start the nodes that are down; one that is lost for good is taken out with `durum node remove`.";
        (ErrorKind::NoQuorum, "too few copies can be reached: ", hint)
    } else if is_absent(attempts) {
        (ErrorKind::NotFound, "it does not exist: ", "")
    } else if any(Fault::is_refusal) {
        let hint = "Have a new invitation made with `durum node invite --client`.";
        (ErrorKind::Refused, "the access key is not accepted: ", hint)
    } else if attempts.is_empty() {
        (ErrorKind::Usage, "the cluster has no nodes", "")
    } else {
        let hint = "See whether the nodes run (`durum node status`) and can be reached from here.";
        (ErrorKind::Unreachable, "no node can be reached: ", hint)
    };
    let error = Error::new(kind, doing).because(format!("{why}{each}"));
    match hint.is_empty() {
        true => error,
        false => error.hint(hint),
    }
}

/// Whether what was asked for does not exist, by those that say so: they know the access key, and those that refuse
/// it are new, or were removed. One that is new can know the key and not the bucket yet: where others only fail, more
/// than half have to say it.
fn is_absent(attempts: &[Attempt]) -> bool {
    let asked = attempts.iter().filter(|it| !it.fault.is_refusal());
    let absent = attempts.iter().filter(|it| it.fault.is_absence());
    absent.count() * 2 > asked.count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: u16, code: &str) -> Fault {
        Fault::Status {
            status,
            code: code.to_owned(),
            message: String::new(),
        }
    }

    fn of(faults: &[Fault]) -> Error {
        let attempts: Vec<Attempt> = faults
            .iter()
            .enumerate()
            .map(|(number, fault)| Attempt {
                node: format!("node{number}"),
                fault: fault.clone(),
            })
            .collect();
        verdict("read an item", &attempts)
    }

    #[test]
    fn what_all_nodes_say_makes_the_kind() {
        let refused = || Fault::Connect("connection refused".to_owned());
        let kind = |faults: &[Fault]| of(faults).kind();
        assert_eq!(kind(&[refused(), refused()]), ErrorKind::Unreachable);
        assert_eq!(
            kind(&[refused(), status(503, "ServiceUnavailable")]),
            ErrorKind::NoQuorum
        );
        assert_eq!(
            kind(&[refused(), status(403, "AccessDenied")]),
            ErrorKind::Refused
        );
        assert_eq!(kind(&[status(404, "NoSuchBucket")]), ErrorKind::NotFound);
        assert_eq!(
            kind(&[status(403, "AccessDenied"), status(404, "NoSuchBucket")]),
            ErrorKind::NotFound
        );
        let (new, fails) = (status(404, "NoSuchBucket"), status(500, "InternalError"));
        assert_eq!(
            kind(&[new.clone(), fails.clone(), fails]),
            ErrorKind::Unreachable
        );
        assert_eq!(kind(&[refused(), new.clone(), new]), ErrorKind::NotFound);
        assert_eq!(
            kind(&[refused(), status(404, "NoSuchKey")]),
            ErrorKind::NotFound
        );
        assert_eq!(kind(&[status(400, "InvalidRequest")]), ErrorKind::Usage);
        assert_eq!(kind(&[Fault::TooLong(9)]), ErrorKind::TooLarge);
        assert_eq!(kind(&[]), ErrorKind::Usage);
    }

    #[test]
    fn what_was_not_done_can_be_asked_of_another_node() {
        for nothing in [
            Fault::Connect("connection refused".to_owned()),
            status(403, "AccessDenied"),
            status(502, ABSENT),
        ] {
            assert!(nothing.left_all_as_it_was(), "{nothing}");
        }
        for unknown in [
            Fault::Lost("reset".to_owned()),
            Fault::Late(Duration::from_secs(1)),
            status(503, "ServiceUnavailable"),
        ] {
            assert!(!unknown.left_all_as_it_was(), "{unknown}");
        }
    }

    #[test]
    fn every_node_is_named_with_its_reason() {
        let text = of(&[
            Fault::Connect("connection refused".to_owned()),
            Fault::Late(Duration::from_secs(3)),
        ])
        .to_string();
        for part in ["node0: no connection", "node1: no answer within 3.0 s"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn a_hostile_message_stays_one_line() {
        let body = br#"{"code":"X\n","message":"a\u001b[2Jb\nc"}"#;
        let text = Fault::of_answer(400, body).to_string();
        assert!(!text.contains('\n') && !text.contains('\u{1b}'), "{text}");
    }
}
