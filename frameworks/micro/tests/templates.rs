//! Pages from templates, in both forms and under the eyes of the lint.

mod support;

use varvel_micro::{
    App, Error, Failure, Form, HttpError, ReadBody, Redirect, Request, Respond, Session, StatusCode,
    Template, Templates, WriteBody, context,
};
use varvel_test::Response;

use support::in_process;

/// An application with these templates.
fn app(templates: &[(&'static str, &'static str)]) -> App {
    let mut all = Templates::new();
    for (name, source) in templates {
        all.add(*name, *source).unwrap();
    }
    let mut app = App::new();
    app.secret([7; 32]).templates(all);
    app
}

fn cookie(response: &Response) -> String {
    response.header("set-cookie").expect("a cookie").split(';').next().unwrap_or_default().to_owned()
}

#[test]
fn a_page_is_escaped_and_has_the_media_type_of_its_name() {
    #[derive(serde::Serialize)]
    struct Given {
        text: &'static str,
    }

    let mut app = app(&[("a.html", "<p>{{ text }}"), ("a.txt", "{{ text }}")]);
    app.get("/html", || Template("a.html", context! { text => "<b>" }));
    app.get("/text", async || Template("a.txt", Given { text: "<b>" }));
    app.get("/created", || (StatusCode::CREATED, [("x-a", "1")], Template("a.html", Given { text: "\"" })));
    app.get("/css", async || ([("content-type", "text/css")], Template("a.txt", Given { text: "p {}" })));
    app.get("/nothing", || Template("a.html", ()));
    in_process(
        || app.clone(),
        |client| {
            let get = |path| client.get(path).send();
            assert_eq!(get("/html").text(), "<p>&lt;b&gt;");
            assert_eq!(get("/html").header("content-type"), Some("text/html; charset=utf-8"));
            assert_eq!(get("/text").text(), "<b>");
            assert_eq!(get("/text").header("content-type"), Some("text/plain; charset=utf-8"));
            let created = get("/created");
            assert_eq!((created.status().as_u16(), created.header("x-a")), (201, Some("1")));
            assert_eq!(created.text(), "<p>&quot;");
            assert_eq!(get("/css").header("content-type"), Some("text/css"));
            assert_eq!(get("/nothing").text(), "<p>");
            // Nobody asked for the session.
            assert_eq!(get("/html").header("vary"), None);
            assert_eq!(client.head("/html").send().header("content-length"), Some("12"));
        },
    );
}

#[test]
fn templates_find_routes_the_session_and_its_messages() {
    let mut app = app(&[
        (
            "macros.html",
            "{% macro link(id) %}<a href={{ url_for('user', id=id) }}>{{ id }}</a>{% endmacro %}",
        ),
        (
            "base.html",
            "{{ session.name or 'nobody' }}:{% for message in get_flashed_messages() %}<p>{{ message }}\
             {% endfor %}{% block body %}{% endblock %}",
        ),
        (
            "front.html",
            "{% extends 'base.html' %}{% from 'macros.html' import link %}{% block body %}{{ link(7) }}\
             {% for category, message in get_flashed_messages(with_categories=true) %}({{ category }} {{ message }})\
             {% endfor %}{% endblock %}",
        ),
        ("own.html", "{{ session }}"),
    ]);
    app.get("/users/{id:int}", |id: u32| id.to_string()).named("user");
    app.get("/", async || Template("front.html", ()));
    app.get("/own", || Template("own.html", context! { session => "its own" }));
    app.post("/sign-in/{name}", |name: String, session: Session| {
        session.set("name", name);
        session.flash("info", "<Welcome>");
        Redirect::to("/")
    });
    in_process(
        || app.clone(),
        |client| {
            assert_eq!(client.get("/").send().text(), "nobody:<a href=/users/7>7</a>");
            let signed_in = cookie(&client.post("/sign-in/Ferris").send());
            let welcome = client.get("/").header("cookie", &signed_in).send();
            assert_eq!(
                welcome.text(),
                "Ferris:<p>&lt;Welcome&gt;<a href=/users/7>7</a>(info &lt;Welcome&gt;)"
            );
            assert_eq!(welcome.header("vary"), Some("cookie"));
            // Each message is told once.
            let again = client.get("/").header("cookie", cookie(&welcome)).send();
            assert_eq!(again.text(), "Ferris:<a href=/users/7>7</a>");
            let own = client.get("/own").header("cookie", &signed_in).send();
            assert_eq!((own.text(), own.header("vary")), ("its own", None));
        },
    );
}

#[test]
fn error_pages_and_answers_before_the_handlers_are_templates_too() {
    let mut app = app(&[
        ("error.html", "{{ status }} for {{ session.name }}"),
        ("wait.html", "Come back later."),
        ("broken.html", "{{ 1 + {} }}"),
    ]);
    app.before(|uri: http::Uri| {
        (uri.query() == Some("closed"))
            .then_some((StatusCode::SERVICE_UNAVAILABLE, Template("wait.html", ())))
    });
    app.errors(|error: &Failure<'_>| Template("error.html", context! { status => error.status().as_u16() }));
    app.post("/name/{name}", |name: String, session: Session| session.set("name", name));
    app.get("/broken", async || Template("broken.html", ()));
    app.get("/missing", || Template("missing.html", ()));
    app.get("/gone", |_: Request<ReadBody>| HttpError::new(StatusCode::GONE));
    app.post("/form", |Form(form): Form<Vec<(String, String)>>| form.len().to_string());
    in_process(
        || app.clone(),
        |client| {
            let named = cookie(&client.post("/name/Ferris").send());
            for (method, path, status) in [
                ("GET", "/nowhere", 404),
                ("DELETE", "/gone", 405),
                ("GET", "/gone", 410),
                ("POST", "/form", 415),
            ] {
                let response = client.request(method, path).header("cookie", &named).send();
                assert_eq!(response.status(), status, "{path}");
                assert_eq!(response.text(), format!("{status} for Ferris"));
            }
            let closed = client.get("/gone?closed").send();
            assert_eq!((closed.status().as_u16(), closed.text()), (503, "Come back later."));
            for (path, cause) in [("/broken", "broken.html"), ("/missing", "missing.html")] {
                let failed = client.get(path).try_send().unwrap();
                assert_eq!((failed.status().as_u16(), failed.text()), (500, "500 for "));
                let reported = client.reports().iter().any(|record| record.to_string().contains(cause));
                assert!(reported, "{:?}", client.reports());
            }
        },
    );
}

#[test]
fn a_template_made_into_a_whole_response_is_still_rendered() {
    fn page(n: u32) -> Result<http::Response<WriteBody>, Error> {
        if n == 0 { Redirect::to("/1").respond() } else { Template("n.html", context! { n }).respond() }
    }
    let mut app = app(&[("n.html", "<h1>{{ n }}</h1>")]);
    app.get("/{n}", page);
    in_process(
        || app.clone(),
        |client| {
            assert_eq!(client.get("/0").send().header("location"), Some("/1"));
            assert_eq!(client.get("/1").send().text(), "<h1>1</h1>");
        },
    );
}

#[test]
fn the_page_for_a_session_too_large_for_a_cookie_may_show_its_messages() {
    let mut app =
        app(&[("error.html", "{{ status }}{% for m in get_flashed_messages() %} {{ m }}{% endfor %}")]);
    app.errors(|failure: &Failure<'_>| {
        Template("error.html", context! { status => failure.status().as_u16() })
    });
    app.get("/", |session: Session| {
        session.flash("info", "Welcome");
        session.set("text", "x".repeat(5000));
    });
    in_process(
        || app.clone(),
        |client| {
            let failed = client.get("/").try_send().unwrap();
            assert_eq!((failed.status().as_u16(), failed.text()), (500, "500 Welcome"));
            assert_eq!(failed.header("set-cookie"), None);
            let reports: Vec<_> = client.reports().iter().map(ToString::to_string).collect();
            assert!(reports.len() == 1 && reports[0].contains("the session cannot be kept"), "{reports:?}");
        },
    );
}

#[test]
fn an_error_page_that_fails_is_the_servers() {
    let mut app = app(&[("error.html", "{{ url_for('nowhere') }}")]);
    app.errors(|_: &Failure<'_>| Template("error.html", ()));
    let mut without = App::new();
    without.get("/nowhere", || Template("error.html", ()));
    for app in [app, without] {
        in_process(
            || app.clone(),
            |client| {
                let failed = client.get("/nowhere").try_send().unwrap();
                assert_eq!((failed.status().as_u16(), failed.text()), (500, "Internal Server Error\n"));
            },
        );
    }
}

#[test]
#[should_panic = "users/faulty.html:2"]
fn a_faulty_template_is_found_when_the_program_starts() {
    let directory = std::env::temp_dir().join(format!("varvel-micro-{}", std::process::id()));
    std::fs::create_dir_all(directory.join("users")).unwrap();
    std::fs::write(directory.join("users/faulty.html"), "one\n{% if %}").unwrap();
    let templates = Templates::of_directory(&directory);
    let found = std::panic::catch_unwind(move || {
        App::new().templates(templates);
    });
    std::fs::remove_dir_all(directory).unwrap();
    std::panic::resume_unwind(found.unwrap_err());
}
