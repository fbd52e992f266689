//! The arguments of `durum cert`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use durum_core::units::parse_duration;

#[derive(Debug, Args)]
pub(crate) struct CertArgs {
    #[command(subcommand)]
    pub(crate) what: CertCommand,
}

/// What is made.
#[derive(Debug, Subcommand)]
pub(crate) enum CertCommand {
    /// Make an authority: `ca.pem`, which all get, and `ca.key`, which nobody gets
    Ca(CertCaArgs),
    /// Make the certificate of a server: `server.pem` and `server.key`
    Server(CertServerArgs),
    /// Make the certificate of a client: `client-NAME.pem` and `client-NAME.key`
    Client(CertClientArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CertCaArgs {
    /// The directory for all files, which is made where it is absent
    pub(crate) dir: PathBuf,
    /// What the authority is called; two of one name are hard to tell apart when something is wrong
    /// [default: Durum CA and a random number]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// How long it is valid
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "3650d")]
    pub(crate) valid: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct CertServerArgs {
    /// The directory that has the authority
    pub(crate) dir: PathBuf,
    /// The names and IP numbers by which clients connect to the server
    #[arg(long, value_name = "HOST", required = true, num_args = 1..)]
    pub(crate) name: Vec<String>,
    #[command(flatten)]
    pub(crate) how: CertHow,
}

#[derive(Debug, Args)]
pub(crate) struct CertClientArgs {
    /// The directory that has the authority
    pub(crate) dir: PathBuf,
    /// What the client is called in `[server.clients]`: letters, digits and `.-_@`
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) how: CertHow,
}

/// How a certificate is made.
#[derive(Debug, Args)]
pub(crate) struct CertHow {
    /// How long it is valid, at most as long as the authority
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "365d")]
    pub(crate) valid: Duration,
    /// Make it anew, in the place of one that expires
    #[arg(long)]
    pub(crate) replace: bool,
}
