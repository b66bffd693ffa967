use super::*;

fn read(text: &str) -> (Option<Node>, Vec<String>) {
    let mut mistakes = Mistakes::default();
    let node = parse(&"t.yaml".into(), text.as_bytes(), &mut mistakes);
    (node, mistakes.0.iter().map(ToString::to_string).collect())
}

fn only_mistake(text: &str) -> String {
    let (_, mistakes) = read(text);
    assert_eq!(mistakes.len(), 1, "{text:?} {mistakes:?}");
    mistakes[0].clone()
}

fn shown(node: &Node) -> String {
    match &node.data {
        Data::Scalar(text) => format!("'{text}'"),
        Data::Empty => "~".to_owned(),
        Data::List(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(",")),
        Data::Map(entries) => {
            let entries: Vec<_> =
                entries.iter().map(|entry| format!("{}:{}", entry.key, shown(&entry.value))).collect();
            format!("{{{}}}", entries.join(","))
        }
    }
}

#[test]
fn scalars_stay_as_written() {
    let (node, mistakes) = read("a: 0123\nb: on\nc: '1'\nd: ~^/x\ne:\nf: null\ng: ''\n");
    assert_eq!(mistakes, Vec::<String>::new());
    assert_eq!(shown(&node.expect("a tree")), "{a:'0123',b:'on',c:'1',d:'~^/x',e:~,f:'null',g:''}");
}

#[test]
fn json_and_byte_order_marks_are_read() {
    let (yaml, _) = read("a: [1, {b: é}]\n");
    let (json, mistakes) = read("\u{feff}{\n\t\"a\": [1,\t{\"b\": \"\\u00e9\"}]\r\n}\n");
    assert_eq!(mistakes, Vec::<String>::new());
    assert_eq!(shown(&json.expect("a tree")), shown(&yaml.expect("a tree")));
}

#[test]
fn places_count_from_one_and_in_characters() {
    let (node, _) = read("é: {ü: x}\n");
    let Data::Map(entries) = node.expect("a tree").data else { panic!("a map") };
    let Data::Map(inner) = &entries[0].value.data else { panic!("a map") };
    assert_eq!(inner[0].span.to_string(), "t.yaml:1:5");
    assert_eq!(inner[0].value.span.to_string(), "t.yaml:1:8");
}

#[test]
fn what_the_language_leaves_out_of_yaml_is_refused_by_name() {
    assert_eq!(only_mistake("a: 1\nb: 2\na: 3\n"), "`a` is written twice, first at line 1, remove one (t.yaml:3:1)");
    assert!(only_mistake("a: {<<: {b: c}}\n").starts_with("merge keys `<<` are not part of the language"));
    assert!(only_mistake("a: 1\n---\nb: 2\n").starts_with("a second document begins here"));
    assert!(only_mistake("? [a]\n: b\n").starts_with("a key must be text"));
    assert!(only_mistake("a: !!str b\n").contains("tags are not part of the language"));
}

#[test]
fn traps_name_the_quoted_form() {
    let cases = [
        ("host: *.a.com\n", "a leading `*` is an alias in YAML, quote the text: \"*.a.com\" (t.yaml:1:7)"),
        ("host: [b, *.a.com]\n", "a leading `*` is an alias in YAML, quote the text: \"*.a.com\" (t.yaml:1:11)"),
        ("host: *\n", "a leading `*` is an alias in YAML, quote the text: \"*\" (t.yaml:1:7)"),
        ("a: @x\n", "a leading `@` is reserved in YAML, quote the text: \"@x\" (t.yaml:1:4)"),
        ("a: %x\n", "a leading `%` is reserved in YAML, quote the text: \"%x\" (t.yaml:1:4)"),
        ("a: !x\n", "quote the text: \"!x\" (t.yaml:1:4)"),
        ("bind: [::]:80\n", "`[` begins a list in YAML, quote the address: \"[::]:80\""),
        ("bind: [::1]:80\n", "`[` begins a list in YAML, quote the address: \"[::1]:80\""),
        ("a:\n\t- b\n", "a tab indents here, YAML indents with spaces only (t.yaml:2:2)"),
        ("a: b\n\tc: d\n", "a tab indents here, YAML indents with spaces only"),
        ("a: b: c\n", "a second `: ` stands on this line"),
        ("a: \"\\ud83d\\ude00\"\n", "write the character itself"),
        ("a: \"\\.x\"\n", "use single quotes for regular expressions"),
    ];
    for (text, wanted) in cases {
        let said = only_mistake(text);
        assert!(said.contains(wanted), "{text:?}: {said}");
    }
}

#[test]
fn aliases_are_expanded_within_a_bound() {
    let (node, mistakes) = read("a: &x {b: [1]}\nc: *x\n");
    assert_eq!(mistakes, Vec::<String>::new());
    assert_eq!(shown(&node.expect("a tree")), "{a:{b:['1']},c:{b:['1']}}");

    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..12 {
        let all = vec![format!("*a{}", n - 1); 9].join(", ");
        laughs += &format!("a{n}: &a{n} [{all}]\n");
    }
    let said = only_mistake(&laughs);
    assert!(said.starts_with("aliases repeat too much") || said.starts_with("more than"), "{said}");
    assert!(only_mistake("a: &x [*x]\n").starts_with("the alias stands inside of what it repeats"));
}

#[test]
fn hostile_input_ends_in_a_mistake() {
    for text in
        ["[".repeat(300_000), "{a: ".repeat(300_000), "- ".repeat(300_000), "? ".repeat(300_000), "a: \0".to_owned()]
    {
        let (node, mistakes) = read(&text);
        assert!(node.is_none() && mistakes.len() == 1, "{mistakes:?}");
    }
    let mut mistakes = Mistakes::default();
    assert!(parse(&"t".into(), b"a: 1\nb: \xff\n", &mut mistakes).is_none());
    assert_eq!(mistakes.0[0].to_string(), "the file is not UTF-8, save it in that encoding (t:2:1)");
    assert!(parse(&"t".into(), &vec![b'#'; LARGEST_FILE + 1], &mut mistakes).is_none());
}
