//! Files: includes, values from files, overrides, what is printed.

use std::path::PathBuf;

use super::{load, ok, placeless, said};
use crate::{LoadOptions, Loaded, Mistakes, all_keys, effective, load_text, reference, schema};

/// A folder of its own that goes when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let path = std::env::temp_dir().join(format!("tidegate-config-{name}-{}", std::process::id()));
        for (file, text) in files {
            let file = path.join(file);
            std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
            std::fs::write(file, text).expect("a file");
        }
        Self(path)
    }

    fn load(&self, sets: &[(&str, &str)]) -> Result<Loaded, Mistakes> {
        let sets = sets.iter().map(|(path, value)| ((*path).to_owned(), (*value).to_owned())).collect();
        crate::load(&LoadOptions { file: self.0.join("t.yaml"), sets, env: &|_| None })
    }

    fn said(&self, sets: &[(&str, &str)]) -> String {
        said(self.load(sets)).join("\n").replace(&format!("{}/", self.0.display()), "")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const LISTENER: &str = "include: ['conf.d/*.yaml', 'none/*.yaml']\nlisteners: {a: {bind: ':1', to: p}}\n";

#[test]
fn includes_merge_maps() {
    let folder = Folder::new(
        "merge",
        &[
            ("t.yaml", LISTENER),
            ("conf.d/b.yaml", "pools: {q: 'unix:s'}\n"),
            ("conf.d/a.yaml", "include: ../more.yaml\n"),
            ("conf.d/.hidden.yaml", "nonsense"),
            ("more.yaml", "include: 'conf.d/?.yaml'\npools: {p: 'unix:s'}\n"),
        ],
    );
    let loaded = folder.load(&[]).expect("no mistakes");
    let server = |n: usize| format!("{:?}", loaded.spec.pools[n].servers[0].address);
    assert_eq!(loaded.files.iter().filter(|file| file.is_file()).count(), 4);
    assert!(loaded.files.iter().any(|folder| folder.is_dir() && folder.ends_with("conf.d")), "new files are seen");
    assert!(server(0).ends_with("conf.d/s\")") && !server(1).contains("conf.d/s"), "{} {}", server(0), server(1));
    assert_eq!(loaded.warnings.len(), 1, "pool q is never used");
}

#[test]
fn one_name_in_two_files_names_both_places() {
    let folder = Folder::new(
        "twice",
        &[
            (
                "t.yaml",
                "include: ['conf.d/*.yaml', lost.yaml]\nworkers: 1\nlisteners: {a: {bind: ':1', to: p}}\npools: {p: 'h:1'}\n",
            ),
            ("conf.d/a.yaml", "workers: 2\npools:\n  p: 'h:2'\n  q: nonsense\n"),
        ],
    );
    assert_eq!(
        folder.said(&[]),
        "`workers` is also written at t.yaml:2:1, and only maps are merged, remove one (conf.d/a.yaml:1:1)\n\
         `p` in `pools` is also written at t.yaml:4:9, remove one (conf.d/a.yaml:3:3)\n\
         `nonsense` has no port, write `nonsense:PORT` (conf.d/a.yaml:4:6)\n\
         the file `lost.yaml` cannot be read: No such file or directory (os error 2) (t.yaml:1:28)"
    );
}

#[test]
fn values_come_from_files_and_stay_secret() {
    let folder = Folder::new(
        "secret",
        &[("t.yaml", "listeners: {a: {bind: ':1', respond: {body: 'k ${file.key}'}}}\n"), ("key", "pa55\n")],
    );
    let loaded = folder.load(&[]).expect("no mistakes");
    assert!(format!("{:?}", loaded.spec).contains("k pa55\""));
    assert!(!effective(&loaded).contains("pa55") && effective(&loaded).contains("${file."));
}

#[test]
fn overrides_reach_values_through_short_forms() {
    let folder = Folder::new("set", &[("t.yaml", "listeners: {a: {bind: ':1', to: p}}\npools: {p: ['h:1', 'h:2']}\n")]);
    let sets = [
        ("listeners.a.bind", "127.0.0.1:0"),
        ("pools.p.servers.1", "h:9"),
        ("pools.p.timeouts.connect", "7s"),
        ("workers", "3"),
        ("dns.hosts.\"a.b\"", "::1"),
        ("listeners.b.bind.0", ":5"),
    ];
    let spec = folder.load(&sets[..5]).expect("no mistakes").spec;
    assert_eq!(spec.pools[0].servers[1].name, "h:9");
    assert_eq!(spec.pools[0].timeouts.connect.map(|time| time.as_secs()), Some(7));
    assert_eq!((spec.workers, spec.dns.hosts[0].0.as_str()), (Some(3), "a.b"));
    assert!(folder.said(&sets[5..]).contains("there is no element 0, the list has 0 (--set listeners.b.bind.0)"));
    assert_eq!(
        folder.said(&[("pools.p.balanc", "random")]),
        "unknown key `balanc` of pool, did you mean `balance`? (--set pools.p.balanc)"
    );
    assert_eq!(folder.said(&[("workers", "x")]), "`workers`: `x` is no whole number from 1 to 1024 (--set workers)");
    assert!(folder.said(&[("workers.x", "1")]).contains("leads into a single value"));
    assert!(folder.said(&[("", "1")]).contains("a name is empty"));
}

#[test]
fn the_effective_document_loads_to_the_same() {
    let examples = super::examples();
    let reverse = std::fs::read_to_string(examples.join("reverse.yaml")).expect("the example");
    let planned = ["health:", "outlier:", "slow_start:"];
    let lines = reverse.lines().filter(|line| !planned.iter().any(|key| line.trim_start().starts_with(key)));
    let reverse = lines.collect::<Vec<_>>().join("\n").replace(", budget: 20%", "");
    let own = "
defaults: {route: {timeouts: {total: 3s}}, pool: {queue: {length: 3}}}
workers: 3
state: /var/x
dns: {servers: '[::1]:53', hosts: {a.b: [127.0.0.1, ::1]}}
policies: {h: {headers: {response: {add: {a: '* \"q\" $${x} ${host} ${env.SET}'}, default: {b: ''}}}}}
listeners:
  a:
    bind: {address: 'unix:x', mode: 0600}
    use: h
    forwarding: anonymous
    routes:
      - match: {query: {'a b': {present: true}}, path: '~^/\\d+$', not: {any: [{cookie: {x: 'yes: #no'}}]}}
        respond: {status: 299, body: \"a\\n\\tb\\u0007é\", headers: {x: y}}
      - to: h:1
";
    let flows = "
defaults: {listener: {forwarding: elite, http: h2, timeouts: {response: 3s, connect: 2s}}}
listeners:
  a: {bind: ':1', role: tcp, routes: [{match: {sni: {absent: true}}, deny: reset}, {match: {sni: [a.b, '*.c']}, deny: close}, {to: 'h:1'}]}
  b: {bind: ':2', respond: 200}
";
    for text in [&reverse, own, flows, "listeners: {a: {bind: ':1', redirect: {scheme: https, port: 8443}}}"] {
        let first = load(text).expect("no mistakes");
        let printed = effective(&first);
        let second = load_text("t.yaml", &printed, std::path::Path::new("/nowhere"), &|name| {
            (name == "SET").then(|| "s3cret".to_owned())
        });
        let second = second.unwrap_or_else(|mistakes| panic!("{mistakes}\n{printed}"));
        assert_eq!(placeless(&first.spec), placeless(&second.spec), "{printed}");
        assert_eq!(effective(&second), printed);
        assert!(!printed.contains("s3cret"));
    }
    let basic = ok("listeners: {a: {bind: ':1', to: 'h:1'}}");
    assert!(basic.pools[0].implicit);
}

#[test]
fn every_key_is_in_schema_and_reference_and_no_planned_one() {
    let (schema, reference) = (schema(), reference());
    serde_json::from_str::<serde_json::Value>(&schema).expect("JSON");
    let keys = all_keys();
    assert!(keys.contains(&"pools.*.queue.length".to_owned()) && keys.contains(&"workers".to_owned()), "{keys:?}");
    for key in &keys {
        let name = key.rsplit('.').next().expect("a name");
        assert!(schema.contains(&format!("\"{name}\"")) && reference.contains(&format!("| `{name}` |")), "{key}");
    }
    for planned in ["stores", "caches", "jwt"] {
        assert!(
            !schema.contains(&format!("\"{planned}\"")) && !reference.contains(&format!("`{planned}`")),
            "{planned}"
        );
    }
    let unique: std::collections::HashSet<_> = keys.iter().collect();
    assert_eq!(unique.len(), keys.len());
}

#[test]
fn keys_that_do_nothing_where_they_stand_are_warned_of() {
    let warnings = |pool: &str, more: &str| {
        let text = format!("{more}listeners: {{a: {{bind: ':1', to: p}}}}\npools: {{p: {{{pool}}}}}\n");
        let loaded = load(&text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        loaded.warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let lists = "lists: {l: {file: l, format: hosts}, m: {file: m, format: rpz}}\n";
    let said = warnings("servers: [h:1]", lists);
    assert!(said.contains("list `l` is named by no `match`") && said.contains("list `m`"), "{said}");
    for (pool, said) in [
        (
            "servers: [h:1], slow_start: 5s, balance: maglev",
            "`slow_start` of pool `p` does nothing with `balance: maglev`",
        ),
        (
            "servers: [h:1], outlier: {every: 1s}",
            "`outlier.every` of pool `p` does nothing without `success_rate` or `latency`",
        ),
        ("servers: [h:1], queue: {length: 7}", "`queue` of pool `p` does nothing without `max_connections`"),
        ("servers: [{address: 'h:1', zone: z}]", "`zone` of server `h:1` in pool `p` does nothing without"),
        (
            "servers: [{address: 'h:1', weight: 2}], balance: first",
            "`weight` of server `h:1` in pool `p` does nothing with",
        ),
    ] {
        let heard = warnings(pool, "");
        assert!(heard.starts_with(said) && heard.lines().count() == 1, "{heard}");
    }
    for pool in [
        "servers: [{address: 'h:1', zone: z, weight: 2, max_connections: 1}], slow_start: 5s, queue: {length: 7}",
        "servers: [h:1], balance: maglev, outlier: {every: 1s, latency: {}}, circuit_breaker: {connections: 1}, queue: {length: 7}",
    ] {
        assert_eq!(warnings(pool, "zone: z\n"), "");
    }
}
