use proptest::prelude::*;

use super::*;

/// A router whose values are the templates.
fn router(templates: &[&'static str]) -> Router<&'static str> {
    let mut router = Router::new();
    for template in templates {
        router.add(template, *template).unwrap();
    }
    router
}

/// Which template a path leads to, and the values.
fn found(router: &Router<&'static str>, path: &str) -> String {
    let Some(found) = router.find(path) else { return "none".into() };
    let names = found.route().template().names();
    let values: Vec<_> = names.map(|name| format!(" {name}={}", found.get(name).unwrap())).collect();
    found.value().to_string() + &values.concat()
}

#[test]
fn the_most_specific_route_wins_whatever_the_order() {
    let mut templates = [
        "/{all:path}",
        "/a/{any}",
        "/a/{number:int}",
        "/a/b",
        "/a/{name}.json",
        "/a/x{rest}",
        "/a/{name}-{version}.json",
        "/a/b/{deep}",
    ];
    for _ in 0..templates.len() {
        templates.rotate_left(1);
        let router = router(&templates);
        for (path, expected) in [
            ("/a/b", "/a/b"),
            ("/a/7", "/a/{number:int} number=7"),
            ("/a/seven", "/a/{any} any=seven"),
            ("/a/b.json", "/a/{name}.json name=b"),
            ("/a/b-2.json", "/a/{name}-{version}.json name=b version=2"),
            ("/a/xyz", "/a/x{rest} rest=yz"),
            ("/a/b/c", "/a/b/{deep} deep=c"),
            ("/a/7/c", "/{all:path} all=a/7/c"),
            ("/a/", "/{all:path} all=a/"),
            ("/", "/{all:path} all="),
        ] {
            assert_eq!(found(&router, path), expected, "{path} with {templates:?}");
        }
    }
}

#[test]
fn where_a_route_refuses_the_next_one_is_tried() {
    let router = router(&[
        "/{year:int(4)}/{month:int(2, min=1, max=12)}",
        "/{year:int}/{page}",
        "/{user}/settings",
        "/{user}/{page}/edit",
        "/{year:int(4)}/{month:int}/x/{id:uuid}",
        "/{rest:path}",
    ]);
    for (path, expected) in [
        ("/2024/12", "/{year:int(4)}/{month:int(2, min=1, max=12)} year=2024 month=12"),
        ("/2024/13", "/{year:int}/{page} year=2024 page=13"),
        ("/20240/12", "/{year:int}/{page} year=20240 page=12"),
        ("/2024/12/edit", "/{user}/{page}/edit user=2024 page=12"),
        ("/ann/settings", "/{user}/settings user=ann"),
        ("/ann/12", "/{rest:path} rest=ann/12"),
        ("/2024/1/x/y", "/{rest:path} rest=2024/1/x/y"),
    ] {
        assert_eq!(found(&router, path), expected, "{path}");
    }
}

#[test]
fn converters_at_one_place_are_tried_in_the_order_of_their_routes() {
    assert_eq!(found(&router(&["/{f:float}", "/{i:int}"]), "/7"), "/{f:float} f=7");
    assert_eq!(found(&router(&["/{i:int}", "/{f:float}"]), "/7"), "/{i:int} i=7");
    assert_eq!(found(&router(&["/{i:int}", "/{f:float}"]), "/7.5"), "/{f:float} f=7.5");
}

#[test]
fn segments_end_at_slashes_alone() {
    let router = router(&["/a/{b}", "/a/{b}/c", "/a//c", "/a/{b}/"]);
    assert_eq!(found(&router, "/a/x%2Fc"), "/a/{b} b=x/c");
    assert_eq!(found(&router, "/a/x/c"), "/a/{b}/c b=x");
    assert_eq!(found(&router, "/a//c"), "/a//c");
    assert_eq!(found(&router, "/a/"), "none");
    assert_eq!(found(&router, "/a/x/"), "/a/{b}/ b=x");
    assert_eq!(found(&router, "a/x"), "none");
    assert_eq!(found(&router, "*"), "none");
}

#[test]
fn values_are_decoded_and_must_be_text() {
    let router = router(&["/{word}", "/n/{number:int}", "/f/{rest:path}"]);
    assert_eq!(found(&router, "/%C3%A4+b%20c"), "/{word} word=ä+b c");
    assert_eq!(found(&router, "/100%"), "/{word} word=100%");
    assert_eq!(found(&router, "/%FF"), "none");
    assert_eq!(found(&router, "/n/%37"), "/n/{number:int} number=7");
    assert_eq!(found(&router, "/f/a%2Fb/c"), "/f/{rest:path} rest=a/b/c");
}

#[test]
fn literals_are_compared_as_they_were_sent() {
    let router = router(&["/admin", "/café", "/a%2fb"]);
    assert_eq!(found(&router, "/%61dmin"), "none");
    assert_eq!(found(&router, "/Admin"), "none");
    assert_eq!(found(&router, "/caf%C3%A9"), "/café");
    assert_eq!(found(&router, "/caf%c3%a9"), "/café");
    assert_eq!(found(&router, "/a%2Fb"), "/a%2fb");
    assert_eq!(found(&router, "/a/b"), "none");
    for odd in ["/%", "/%c", "/caf%c3%", "/%é%zz%%41"] {
        assert_eq!(found(&router, odd), "none", "{odd}");
    }
}

#[test]
fn fields_in_a_segment_end_where_the_text_behind_them_begins() {
    let router = router(&["/{from}..{to}", "/{a}:{b}@{c}"]);
    assert_eq!(found(&router, "/main..topic"), "/{from}..{to} from=main to=topic");
    assert_eq!(found(&router, "/a...b"), "/{from}..{to} from=a to=.b");
    assert_eq!(found(&router, "/....."), "/{from}..{to} from=. to=..");
    assert_eq!(found(&router, "/..to"), "none");
    assert_eq!(found(&router, "/x:y@z@"), "/{a}:{b}@{c} a=x b=y c=z@");
    assert_eq!(found(&router, "/é:ü@ß"), "/{a}:{b}@{c} a=é b=ü c=ß");
}

#[test]
fn a_prefix_takes_what_is_below_and_nothing_beside() {
    let mut router = router(&["/shop/cart", "/shop/{rest}/x"]);
    router.add_prefix("/shop", "shop").unwrap();
    router.add_prefix("/tenants/{tenant}", "tenant").unwrap();
    let taken = |path: &str| router.find(path).map(|found| (*found.value(), found.taken()));
    assert_eq!(taken("/shop"), Some(("shop", 5)));
    assert_eq!(taken("/shop/"), Some(("shop", 5)));
    assert_eq!(taken("/shop/a/b"), Some(("shop", 5)));
    assert_eq!(taken("/shop/cart"), Some(("/shop/cart", 10)));
    assert_eq!(taken("/shopping"), None);
    assert_eq!(taken("/tenants/x/y"), Some(("tenant", 10)));
    assert_eq!(router.find("/tenants/x/y").unwrap().get("tenant"), Some("x"));
    assert_eq!(taken("/"), None);
    router.add_prefix("/", "all").unwrap();
    let taken = |path: &str| router.find(path).map(|found| (*found.value(), found.taken()));
    assert_eq!(taken("/"), Some(("all", 0)));
    assert_eq!(taken(""), Some(("all", 0)));
    assert_eq!(taken("/x/y"), Some(("all", 0)));
}

#[test]
fn conflicts_name_both_routes() {
    let mut router = router(&["/users/{id:int}", "/files/{rest:path}", "/{a}.{b}", "/x"]);
    let mut reason = |template| router.add(template, "").unwrap_err().to_string();
    assert_eq!(reason("/users/{n:int}"), "routes /users/{id:int} and /users/{n:int} are for the same paths");
    assert_eq!(
        reason("/files/{all:path}"),
        "routes /files/{rest:path} and /files/{all:path} are for the same paths"
    );
    assert_eq!(reason("/{x}.{y}"), "routes /{a}.{b} and /{x}.{y} are for the same paths");
    assert_eq!(reason("/x"), "route /x is added twice");
    assert_eq!(reason("/{id:integer}"), "route /{id:integer}: there is no converter `integer`");
    assert!(router.add("/users/{id:int(2)}", "").is_ok());
    let reason = router.add_prefix("/static/", "").unwrap_err().to_string();
    assert_eq!(reason, "route /static/: a prefix ends where a segment does: without a slash");
}

#[test]
fn names_are_unique_and_for_routes_that_are_there() {
    let mut router = router(&["/a", "/b"]);
    router.name("a", "/a").unwrap();
    router.name("a", "/a").unwrap();
    assert_eq!(router.name("a", "/b").unwrap_err().to_string(), "routes /a and /b are both named `a`");
    assert_eq!(router.name("c", "/c").unwrap_err().to_string(), "there is no route /c to be named `c`");
    assert_eq!(router.url_for("a", &[]).unwrap(), "/a");
}

#[test]
fn urls_are_escaped_and_what_does_not_fit_is_said() {
    let mut router = router(&["/u/{name}/{n:int}", "/f/{rest:path}", "/{a}.json"]);
    router.name("user", "/u/{name}/{n:int}").unwrap();
    router.name("file", "/f/{rest:path}").unwrap();
    router.name("json", "/{a}.json").unwrap();
    let url = |name, values: &[(&str, &dyn fmt::Display)]| match router.url_for(name, values) {
        Ok(url) => url,
        Err(error) => error.to_string(),
    };
    assert_eq!(url("user", &[("name", &"a/b ?#%é"), ("n", &-7)]), "/u/a%2Fb%20%3F%23%25%C3%A9/-7");
    assert_eq!(url("file", &[("rest", &"a b/c")]), "/f/a%20b/c");
    assert_eq!(url("json", &[("a", &"..")]), "/...json");
    assert_eq!(url("users", &[]), "no route is named `users`");
    assert_eq!(url("user", &[("name", &"a")]), "/u/{name}/{n:int} needs a value for `n`");
    assert_eq!(url("file", &[("rest", &"a"), ("x", &1)]), "/f/{rest:path} has no field `x`");
    assert_eq!(url("user", &[("name", &"a"), ("n", &"b")]), r#"/u/{name}/{n:int} cannot have "b" for `n`"#);
    assert_eq!(url("user", &[("name", &""), ("n", &1)]), r#"/u/{name}/{n:int} cannot have "" for `name`"#);
    assert_eq!(
        url("user", &[("name", &".."), ("n", &1)]),
        r#"/u/{name}/{n:int} cannot have ".." for `name`"#
    );
    assert_eq!(url("file", &[("rest", &"a/../b")]), r#"/f/{rest:path} cannot have "a/../b" for `rest`"#);
}

#[test]
fn no_url_leads_to_another_host() {
    let mut router = router(&["/{rest:path}", "/f/{rest:path}"]);
    router.name("all", "/{rest:path}").unwrap();
    router.name("file", "/f/{rest:path}").unwrap();
    let url = |name, rest: &str| router.url_for(name, &[("rest", &rest)]).ok();
    assert_eq!(url("all", "/evil.example"), None);
    assert_eq!(url("all", "\\evil.example").as_deref(), Some("/%5Cevil.example"));
    assert_eq!(url("all", "a//b").as_deref(), Some("/a//b"));
    assert_eq!(url("file", "/a").as_deref(), Some("/f//a"));
}

proptest! {
    #[test]
    fn no_path_is_too_odd(path in "(/|%|%2F|%c3|\\.|:|a|é|7|-|~)*") {
        let router = router(&["/{a}", "/{a:int}/{b}..{c}", "/a%2Fé/{x}.a", "/a/{rest:path}", "/{a}:{b}/7"]);
        let _ = router.find(&path);
    }

    #[test]
    fn a_url_that_is_made_leads_back(a in "\\PC{0,8}", b in "\\PC{0,8}", rest in "(\\PC|/){0,8}") {
        let mut router = router(&["/{a}/{b}", "/x/{rest:path}"]);
        router.name("two", "/{a}/{b}").unwrap();
        router.name("rest", "/x/{rest:path}").unwrap();
        if let Ok(url) = router.url_for("two", &[("a", &a), ("b", &b)]) {
            let found = router.find(&url).unwrap();
            if *found.value() == "/{a}/{b}" {
                prop_assert_eq!((found.get("a"), found.get("b")), (Some(&*a), Some(&*b)));
            } else {
                prop_assert_eq!(&*a, "x");
            }
        }
        if let Ok(url) = router.url_for("rest", &[("rest", &rest)]) {
            let found = router.find(&url).unwrap();
            prop_assert_eq!(found.get("rest"), Some(&*rest));
        }
    }
}

#[test]
fn a_prefix_is_named_with_a_field_for_the_rest() {
    let mut router = Router::new();
    router.add_prefix("/", 0).unwrap();
    router.add_prefix("/of/{user}", 1).unwrap();
    router.add("/of", 2).unwrap();
    router.name("all", "/{rest:path}").unwrap();
    router.name("files", "/of/{user}/{file:path}").unwrap();
    let url = |name, values: &[(&str, &dyn std::fmt::Display)]| router.url_for(name, values);
    assert_eq!(url("all", &[("rest", &"a b/c")]).unwrap(), "/a%20b/c");
    assert_eq!(url("files", &[("user", &7), ("file", &"x/y.txt")]).unwrap(), "/of/7/x/y.txt");
    assert!(matches!(url("files", &[("user", &7), ("file", &"../x")]), Err(UrlError::Refused { .. })));
    for nowhere in ["/of/{file:path}", "/of/{user}/{file}", "/of/{user}/x/{file:path}", "/of/{user}"] {
        let refused = router.clone().name("other", nowhere);
        assert!(matches!(refused, Err(RouteError::NoRoute { .. })), "{nowhere}");
    }
    assert!(matches!(router.name("all", "/of"), Err(RouteError::Name { .. })));
    assert!(router.name("all", "/{rest:path}").is_ok());
}
