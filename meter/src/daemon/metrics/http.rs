//! The page over HTTP, for whoever reaches the address that was configured: nothing but `GET /metrics`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{sleep, timeout};

use crate::daemon::owner::Message;

/// Connections at once.
const MAX_CONNECTIONS: usize = 16;

/// A connection lives so long at most, and a request's head has to come in half of it.
const LIFETIME: Duration = Duration::from_secs(20);

/// Bytes of a request's head at most; the least that hyper takes.
const MAX_HEAD: usize = 8192;

/// No more files to be had: some will be closed soon.
const NO_FILES: Duration = Duration::from_millis(50);

const PAGE_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Answers for ever.
pub(in crate::daemon) async fn open_door(listener: TcpListener, owner: mpsc::Sender<Message>) {
    let seats = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(seat) = Arc::clone(&seats).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            sleep(NO_FILES).await;
            continue;
        };
        let owner = owner.clone();
        tokio::spawn(async move {
            // Whoever is slow is cut off; a fault of the connection is the other side's.
            let _ = timeout(LIFETIME, serve(stream, owner)).await;
            drop(seat);
        });
    }
}

async fn serve(stream: TcpStream, owner: mpsc::Sender<Message>) -> hyper::Result<()> {
    let service = service_fn(move |request| answer(request, owner.clone()));
    let mut connection = http1::Builder::new();
    connection.timer(TokioTimer::new()).header_read_timeout(LIFETIME / 2).max_buf_size(MAX_HEAD).keep_alive(false);
    connection.serve_connection(TokioIo::new(stream), service).await
}

async fn answer(request: Request<Incoming>, owner: mpsc::Sender<Message>) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.uri().path() != "/metrics" {
        return Ok(refusal(StatusCode::NOT_FOUND, "the page is /metrics\n"));
    }
    if request.method() != Method::GET {
        let mut response = refusal(StatusCode::METHOD_NOT_ALLOWED, "the page can only be read\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
        return Ok(response);
    }
    let (page, told) = oneshot::channel();
    let page = match owner.send(Message::Scrape(page)).await {
        Ok(()) => told.await.ok(),
        Err(_) => None,
    };
    Ok(page.map_or_else(
        || refusal(StatusCode::SERVICE_UNAVAILABLE, "the daemon is ending\n"),
        |page| respond(StatusCode::OK, PAGE_TYPE, Bytes::from(page)),
    ))
}

fn refusal(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    respond(status, "text/plain; charset=utf-8", Bytes::from_static(text.as_bytes()))
}

fn respond(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
