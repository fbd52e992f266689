//! The servers that an address names, one by one: each gets a time of its own to be connected to.
//!
//! `tokio_postgres` tries the hosts of a configuration one after the other, and waits for one that takes connections and
//! says nothing, such as a process that hangs, for as long as it takes.

use tokio_postgres::Config;
use tokio_postgres::config::Host;

/// The same configuration for each of its hosts alone.
pub(crate) fn each(config: &Config) -> Vec<Config> {
    let hosts = config.get_hosts().iter().enumerate();
    hosts
        .map(|(index, host)| only(config, index, host))
        .collect()
}

fn only(config: &Config, index: usize, host: &Host) -> Config {
    let mut one = Config::new();
    match host {
        Host::Tcp(name) => one.host(name),
        Host::Unix(path) => one.host_path(path),
    };
    if let Some(address) = config.get_hostaddrs().get(index) {
        one.hostaddr(*address);
    }
    // One port is for all of them.
    let ports = config.get_ports();
    if let Some(port) = ports.get(index).or(ports.first()) {
        one.port(*port);
    }
    if let Some(user) = config.get_user() {
        one.user(user);
    }
    if let Some(password) = config.get_password() {
        one.password(password);
    }
    if let Some(name) = config.get_dbname() {
        one.dbname(name);
    }
    if let Some(options) = config.get_options() {
        one.options(options);
    }
    one.ssl_negotiation(config.get_ssl_negotiation());
    one.channel_binding(config.get_channel_binding());
    one
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_host_has_its_port_and_what_is_said_of_all() {
        let all = "postgresql://me@first:1,second:2,%2Fvar%2Frun:3/base?options=-c%20a%3Db&channel_binding=require";
        let parsed: Vec<String> = ["first:1", "second:2", "%2Fvar%2Frun:3"]
            .iter()
            .map(|host| {
                format!("postgresql://me@{host}/base?options=-c%20a%3Db&channel_binding=require")
            })
            .collect();
        let expected: Vec<Config> = parsed.iter().map(|url| url.parse().unwrap()).collect();
        assert_eq!(each(&all.parse().unwrap()), expected);
        let one_port = each(&"host=a,b port=7".parse().unwrap());
        assert_eq!(one_port[0].get_ports(), [7]);
        assert_eq!(one_port[1].get_ports(), [7]);
    }
}
