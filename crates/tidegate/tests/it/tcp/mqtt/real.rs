//! Mosquitto and its clients, where Debian's packages are installed (`scripts/install`).

use std::process::{Command, Output, Stdio};

use testkit::{Process, Tidegate, is_root, tool};

use crate::tcp::real::free_port;
use crate::tls::Desk;

fn client(tidegate: &Tidegate, program: &str, arguments: &[&str]) -> Output {
    let address = tidegate.address("web");
    let (host, port) = address.rsplit_once(':').expect("a port");
    Command::new(program).args(["-h", host, "-p", port]).args(arguments).output().expect("a client")
}

#[test]
fn its_clients_are_routed_by_their_identifiers() {
    let (Some(mut broker), Some(_), Some(_)) = (tool("mosquitto"), tool("mosquitto_pub"), tool("mosquitto_sub")) else {
        return;
    };
    let desk = Desk::new();
    let port = free_port();
    let user = if is_root() { "user root\n" } else { "" };
    let settings = format!("listener {port} 127.0.0.1\nallow_anonymous true\n{user}");
    let file = desk.folder.write("mosquitto.conf", &settings);
    broker.arg("-c").arg(file).stdout(Stdio::null()).stderr(Stdio::null());
    let address = format!("127.0.0.1:{port}");
    let _broker = Process::listening(&mut broker, &address);
    let text = "
certificates: { main: { cert: '@DIR/main.pem', key: '@DIR/main.key' } }
listeners:
  web:
    bind: 127.0.0.1:0
    role: tcp
    @TLS
    routes:
      - { match: { mqtt: { client_id: ~^sensor- } }, to: '@APP' }
      - { match: { not: { mqtt: { client_id: { prefix: sensor } } } }, deny: reset }
";
    let ca = desk.folder.path().join("ca.pem").display().to_string();
    for (tls, how) in [("", &[][..]), ("tls: main", &["--cafile", &ca])] {
        let tidegate = desk.start(&text.replace("@TLS", tls).replace("@APP", &address), &[]);
        for version in ["mqttv311", "mqttv5"] {
            let common = [how, &["-V", version, "-t", "a/b", "-q", "1"]].concat();
            let said =
                client(&tidegate, "mosquitto_pub", &[&common[..], &["-i", "sensor-1", "-r", "-m", version]].concat());
            assert!(said.status.success(), "{said:?}");
            let heard =
                client(&tidegate, "mosquitto_sub", &[&common[..], &["-i", "sensor-2", "-C", "1", "-W", "20"]].concat());
            assert_eq!(String::from_utf8_lossy(&heard.stdout).trim(), version);
            let other = client(&tidegate, "mosquitto_pub", &[&common[..], &["-i", "other", "-m", "no"]].concat());
            assert!(!other.status.success(), "{other:?}");
        }
    }
}
