//! The same on other frameworks, each with the usual extractor and answer.

use std::{
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use actix_web::{
    body::MessageBody,
    dev::{Service, ServiceResponse},
    http::header::{HeaderMap, HeaderName, HeaderValue},
    test::init_service,
    web,
};
use axum::{Json, Router, body::Body, extract::Path, routing::get};
use http::Request;
use http_body::Body as _;
use tower_service::Service as _;

use crate::subject::{FIELDS, Head, PATH, Subject, User, Wire, paths, ready};

/// axum's router, called as a service.
pub(crate) struct Axum {
    router: Router,
    head: Head,
}

impl Axum {
    pub(crate) fn new(routes: usize) -> Self {
        let user = get(async |Path(id): Path<i64>| Json(User::of(id)));
        let router = paths(routes).fold(Router::new(), |router, path| router.route(&path, user.clone()));
        Self { router, head: Head::default() }
    }
}

impl Subject for Axum {
    type Request = Request<Body>;

    fn request(&self) -> Self::Request {
        self.head.request(Body::empty())
    }

    fn answer(&mut self, request: Self::Request, wire: &mut Wire) {
        let Ok(response) = ready(self.router.call(request));
        let (head, mut body) = response.into_parts();
        wire.status(head.status.as_u16());
        head.headers.iter().for_each(|(name, value)| wire.field(name.as_str(), value.as_bytes()));
        let cx = &mut Context::from_waker(Waker::noop());
        while let Poll::Ready(Some(frame)) = Pin::new(&mut body).poll_frame(cx) {
            wire.data(frame.expect("a frame").data_ref().expect("data"));
        }
    }
}

/// actix-web's service, which has a version of the `http` crate of its own.
pub(crate) struct Actix<S> {
    service: S,
    uri: actix_web::http::Uri,
    fields: HeaderMap,
}

pub(crate) fn actix(routes: usize) -> impl Subject {
    let application = paths(routes).fold(actix_web::App::new(), |app, path| {
        app.route(&path, web::get().to(async |id: web::Path<i64>| web::Json(User::of(*id))))
    });
    let field = |(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).expect("text"));
    Actix {
        service: ready(init_service(application)),
        uri: PATH.parse().expect("a path"),
        fields: FIELDS.map(field).into_iter().collect(),
    }
}

impl<S, B> Subject for Actix<S>
where
    S: Service<actix_http::Request, Response = ServiceResponse<B>, Error = actix_web::Error>,
    B: MessageBody,
{
    type Request = actix_http::Request;

    fn request(&self) -> Self::Request {
        let mut request = actix_http::Request::new();
        request.head_mut().uri = self.uri.clone();
        for (name, value) in &self.fields {
            request.headers_mut().insert(name.clone(), value.clone());
        }
        request
    }

    fn answer(&mut self, request: Self::Request, wire: &mut Wire) {
        let response = ready(self.service.call(request)).expect("an answer");
        wire.status(response.status().as_u16());
        response.headers().iter().for_each(|(name, value)| wire.field(name.as_str(), value.as_bytes()));
        let (_request, response) = response.into_parts();
        let mut body = pin!(response.into_body());
        let cx = &mut Context::from_waker(Waker::noop());
        while let Poll::Ready(Some(Ok(data))) = body.as_mut().poll_next(cx) {
            wire.data(&data);
        }
    }
}
