//! The token by which a server knows a simulator on its own machine.

use std::net::IpAddr;
use std::path::Path;

use hyper::Uri;

/// The file in a server's data folder that has it.
pub const FILE: &str = "simulator.token";

/// The token of the server at `base`, if that is on this machine and keeps its data in `data_dir`.
///
/// Only a server on this machine gets it: whoever has it may place calls that nobody counts.
pub fn find(base: &str, data_dir: &Path) -> Option<String> {
    if !is_here(base) {
        return None;
    }
    let text = std::fs::read_to_string(data_dir.join(FILE)).ok()?;
    Some(text.trim().to_owned()).filter(|token| !token.is_empty())
}

/// True if the address is a loopback one.
fn is_here(base: &str) -> bool {
    let Some(host) = base.trim().parse::<Uri>().ok().and_then(|uri| uri.host().map(str::to_owned)) else {
        return false;
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_goes_to_servers_on_this_machine_alone() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(find("http://127.0.0.1:8080", folder.path()), None);
        std::fs::write(folder.path().join(FILE), "abc\n").unwrap();
        for base in ["http://127.0.0.1:8080", "http://localhost:1", "http://[::1]:8080/", "http://127.3.2.1"]
        {
            assert_eq!(find(base, folder.path()).as_deref(), Some("abc"), "{base}");
        }
        for base in
            ["http://10.0.0.1:8080", "http://localhost.example.com", "http://127.0.0.1.example.com", ""]
        {
            assert_eq!(find(base, folder.path()), None, "{base}");
        }
    }
}
