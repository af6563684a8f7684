//! Every endpoint of every documented API, as its inventory under `fixtures/contract` has it.

use std::collections::BTreeMap;

use hyper::Method;
use offhook_tests::Server;
use offhook_tests::contract::{self, Endpoint, Inventory, Kind, SYSTEMS, Site, System, Verdict, Walk, World};

/// Starts a server for a walk.
async fn server(system: &dyn System, world: World, more: &[(&str, &str)]) -> Server {
    let (flags, variables) = system.settings(world);
    Server::start_with(&flags, &[&variables[..], more].concat()).await
}

/// The system at a base of the server's own listener.
fn site<'a>(
    system: &'static dyn System,
    inventory: &'a Inventory,
    server: &'a Server,
    base: &str,
    world: World,
) -> Site<'a> {
    let (address, base) = (server.address(), base.to_owned());
    Site { server, address, host: address.to_string(), base, world, system, inventory }
}

/// Prints a line for each endpoint, and fails unless all are as documented.
#[expect(clippy::print_stdout, reason = "the verdict is what whoever runs this wants to read")]
fn judge(system: &str, walks: &[(String, Vec<Verdict>)]) {
    let mut by_endpoint: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (walk, verdicts) in walks {
        for verdict in verdicts {
            let complaints = verdict.complaints.iter().map(|complaint| format!("{walk}: {complaint}"));
            by_endpoint.entry(&verdict.id).or_default().extend(complaints);
        }
    }
    for (id, complaints) in &by_endpoint {
        println!("  {} {id}", if complaints.is_empty() { "as documented  " } else { "NOT AS DOCUMENTED" });
        for complaint in complaints {
            println!("      {complaint}");
        }
    }
    let good = by_endpoint.values().filter(|complaints| complaints.is_empty()).count();
    println!("{system}: {good} of {}", by_endpoint.len());
    assert_eq!(good, by_endpoint.len(), "{system}: not every endpoint is as documented; see above");
}

#[test]
#[expect(clippy::print_stdout, reason = "what is not built is told, so that nobody counts it")]
fn every_endpoint_of_a_system_that_is_built_has_a_case() {
    for name in SYSTEMS {
        let inventory = Inventory::of(name);
        let Some(system) = contract::built(name) else {
            println!("{name}: not built; none of its {} endpoints is counted", inventory.all().count());
            continue;
        };
        assert_eq!(system.name(), name);
        let without: Vec<_> =
            inventory.all().filter(|endpoint| system.case(&endpoint.id).is_none()).map(|e| &e.id).collect();
        assert!(without.is_empty(), "{name}: no case for {without:?}");
        println!("{name}: {} endpoints", inventory.all().count());
    }
}

async fn walk_everywhere(name: &str) {
    let system = contract::built(name).expect("it is built");
    let inventory = Inventory::of(name);
    let mut walks = Vec::new();
    for world in [World::Development, World::Production] {
        let server = server(system, world, &[]).await;
        for base in system.bases() {
            let site = site(system, &inventory, &server, base, world);
            walks.push((format!("{world:?} at {base}/"), Walk::of(&site).go().await));
        }
    }
    walks.extend(walk_at_roots_of_its_own(system, &inventory).await);
    judge(name, &walks);
}

/// The system at the root of a listener and of a host name that are its own.
async fn walk_at_roots_of_its_own(
    system: &'static dyn System,
    inventory: &Inventory,
) -> [(String, Vec<Verdict>); 2] {
    // Free just now; nobody is told where a system listens, so it has to be said.
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let own = free.expect("loopback has a free port");
    let name = system.name().to_uppercase();
    let host = format!("{}.example.com", system.name());
    let variables = [
        (format!("OFFHOOK_{name}_LISTEN"), own.to_string()),
        (format!("OFFHOOK_{name}_HOSTS"), host.clone()),
    ];
    let variables: Vec<_> = variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let server = server(system, World::Development, &variables).await;
    let main = site(system, inventory, &server, "", World::Development);
    let listener = Site { address: own, host: own.to_string(), ..main };
    let listener = ("at a listener of its own".to_owned(), Walk::of(&listener).go().await);
    let named = Site { host: host.clone(), ..site(system, inventory, &server, "", World::Development) };
    [listener, (format!("at {host}"), Walk::of(&named).go().await)]
}

#[tokio::test(flavor = "multi_thread")]
async fn callbot_is_served_as_documented() {
    walk_everywhere("callbot").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dashboard_is_served_as_documented() {
    walk_everywhere("dashboard").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn echome_is_served_as_documented() {
    walk_everywhere("echome").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frontdesk_is_served_as_documented() {
    walk_everywhere("frontdesk").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn voiceclone_is_served_as_documented() {
    walk_everywhere("voiceclone").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_limit_is_kept_and_told_as_documented() {
    for name in SYSTEMS {
        let Some(system) = contract::built(name) else { continue };
        let inventory = Inventory::of(name);
        let is_numbered =
            |endpoint: &Endpoint| endpoint.rate_limit.as_ref().is_some_and(|limit| limit.requests.is_some());
        if !inventory.endpoints.iter().any(is_numbered) {
            continue;
        }
        let server = server(system, World::Development, &[]).await;
        let site = site(system, &inventory, &server, system.bases()[0], World::Development);
        // One endpoint of each scope: the one that costs least to ask for.
        let mut scopes = BTreeMap::new();
        for endpoint in &inventory.endpoints {
            let Some(limit) = &endpoint.rate_limit else { continue };
            let cheap = endpoint.method == Method::GET.as_str() && !endpoint.path.contains('{');
            // Where users are counted, addresses are too.
            let scope = (limit.scope.clone(), limit.key.clone());
            if endpoint.kind == Kind::Http && (cheap || !scopes.contains_key(&scope)) {
                scopes.insert(scope, endpoint);
            }
        }
        assert_eq!(scopes.is_empty(), name == "voiceclone", "{name} has limits");
        for ((scope, _), endpoint) in scopes {
            let wrong = Walk::of(&site).exhaust(endpoint).await;
            assert!(wrong.is_empty(), "{name}, {scope} by {}: {wrong:#?}", endpoint.id);
        }
    }
}
