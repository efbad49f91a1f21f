//! Many claims at once: searches, their export, and one decision for many.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, MessageBody};
use actix_web::http::header::CONTENT_DISPOSITION;
use actix_web::{HttpRequest, HttpResponse, web};

use super::act::{Refused, answered, asked, reader_of};
use super::body::{bytes, parse};
use super::headers::idempotency_key;
use super::identity::Staff;
use super::problem::ApiResult;
use super::query::query;
use crate::app::App;
use crate::rights::Right;
use crate::use_cases::claims::bulk::{self, BulkAnswer, BulkDecision};
use crate::use_cases::claims::queue::{self, Exported, Filter, Page, QueueView};
use crate::use_cases::claims::review::{Command, Reader};
use crate::use_cases::claims::triage::{self, AgreementFigure, OpenReading};
use crate::use_cases::once::{self, Once};

/// Find claims
///
/// By state, service, reader and what names them. A page costs the same wherever it stands.
#[utoipa::path(
    get, path = "/v1/claims", tag = "desk", operation_id = "find_claims",
    params(Filter),
    responses((status = 200, description = "A page", body = Page), Refused),
)]
pub async fn find(app: web::Data<App>, staff: Staff, request: HttpRequest) -> ApiResult<HttpResponse> {
    staff.may(Right::ReadClaims)?;
    let (reader, filter): (_, Filter) = (reader_of(&staff), query(&request)?);
    let page =
        web::block(move || app.store.with(|connection| queue::page(&app, connection, &reader, &filter))).await??;
    Ok(HttpResponse::Ok().json(page))
}

/// See the queues
#[utoipa::path(
    get, path = "/v1/queues", tag = "desk", operation_id = "show_queues",
    responses((status = 200, description = "The queues in which anything waits", body = Vec<QueueView>), Refused),
)]
pub async fn queues(app: web::Data<App>, staff: Staff) -> ApiResult<HttpResponse> {
    staff.may(Right::ReadClaims)?;
    let reader = reader_of(&staff);
    let queues = web::block(move || {
        app.store.with(|connection| {
            let services = reader.service_keys(connection)?;
            queue::queues(connection, services.as_deref())
        })
    })
    .await??;
    Ok(HttpResponse::Ok().json(queues))
}

/// Export claims
///
/// Everything that a search finds, as CSV, page by page as it is read. No cell is taken for a formula.
#[utoipa::path(
    get, path = "/v1/claims/export", tag = "desk", operation_id = "export_claims",
    params(Exported),
    responses((status = 200, description = "The claims", body = String, content_type = "text/csv"), Refused),
)]
pub async fn export(app: web::Data<App>, staff: Staff, request: HttpRequest) -> ApiResult<HttpResponse> {
    staff.may(Right::ReadClaims)?;
    let filter = Filter::from(query::<Exported>(&request)?);
    let mut pages =
        Pages { app, reader: reader_of(&staff), filter, under_way: None, ready: VecDeque::new(), first: true };
    // The first page is read before the answer begins, so that a fault of the search is one of the answer.
    let (lines, next) = pages.read().await?;
    pages.take(lines, next);
    let disposition = (CONTENT_DISPOSITION, "attachment; filename=\"claims.csv\"");
    Ok(HttpResponse::Ok().insert_header(disposition).content_type("text/csv; charset=utf-8").body(pages))
}

/// See what waits for a second reader
#[utoipa::path(
    get, path = "/v1/second-readings", tag = "desk", operation_id = "show_second_readings",
    responses((status = 200, description = "The oldest that this reader did not decide himself", body = Vec<OpenReading>), Refused),
)]
pub async fn second_readings(app: web::Data<App>, staff: Staff) -> ApiResult<HttpResponse> {
    staff.may(Right::DecideClaims)?;
    let reader = reader_of(&staff);
    let open = web::block(move || app.store.with(|connection| triage::open_readings(connection, &reader))).await??;
    Ok(HttpResponse::Ok().json(open))
}

/// Report how second readers agree
#[utoipa::path(
    get, path = "/v1/reports/agreement", tag = "desk", operation_id = "report_agreement",
    responses((status = 200, description = "By policy, sample and who decided first", body = Vec<AgreementFigure>), Refused),
)]
pub async fn agreement(app: web::Data<App>, staff: Staff) -> ApiResult<HttpResponse> {
    staff.may(Right::ReadReports)?;
    let figures = web::block(move || app.store.with(triage::agreement)).await??;
    Ok(HttpResponse::Ok().json(figures))
}

/// Lines, and where the next page begins.
type Lines = (Vec<u8>, Option<String>);

/// The pages of a search, each read when the one before it was sent.
struct Pages {
    app: web::Data<App>,
    reader: Reader,
    filter: Filter,
    under_way: Option<Pin<Box<dyn Future<Output = ApiResult<Lines>>>>>,
    ready: VecDeque<Vec<u8>>,
    first: bool,
}

impl Pages {
    fn read(&self) -> Pin<Box<dyn Future<Output = ApiResult<Lines>>>> {
        let (app, reader, filter, first) = (self.app.clone(), self.reader.clone(), self.filter.clone(), self.first);
        Box::pin(async move {
            let read = web::block(move || {
                let page = app.store.with(|connection| queue::page(&app, connection, &reader, &filter))?;
                Ok::<_, crate::error::AppError>((queue::lines(&page, first)?, page.next))
            });
            Ok(read.await??)
        })
    }

    fn take(&mut self, lines: Vec<u8>, next: Option<String>) {
        self.first = false;
        self.ready.push_back(lines);
        self.filter.cursor = next;
        self.under_way = self.filter.cursor.is_some().then(|| self.read());
    }
}

impl MessageBody for Pages {
    type Error = std::io::Error;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<std::io::Result<web::Bytes>>> {
        let pages = self.get_mut();
        if let Some(lines) = pages.ready.pop_front() {
            return Poll::Ready(Some(Ok(lines.into())));
        }
        let Some(under_way) = &mut pages.under_way else { return Poll::Ready(None) };
        match under_way.as_mut().poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Some(Err(std::io::Error::other(error.to_string())))),
            Poll::Ready(Ok((lines, next))) => {
                pages.take(lines, next);
                Poll::Ready(pages.ready.pop_front().map(|lines| Ok(lines.into())))
            }
        }
    }
}

/// Decide many claims
///
/// Without `commit` it says what would become of each, and a hash of all that; with the hash it is done, as it was seen
/// or not at all.
#[utoipa::path(
    post, path = "/v1/decisions/bulk", tag = "desk", operation_id = "decide_many",
    params(("Idempotency-Key" = String, Header, description = "The same for every retry", min_length = 1, max_length = 128, pattern = "^[!-~]{1,128}$")),
    request_body(content = BulkDecision, content_type = "application/json"),
    responses((status = 200, description = "What became, or would become, of each", body = BulkAnswer), Refused),
)]
pub async fn decide(
    app: web::Data<App>,
    staff: Staff,
    request: HttpRequest,
    payload: web::Payload,
) -> ApiResult<HttpResponse> {
    let (actor, reader) = (staff.may(Right::DecideClaims)?, reader_of(&staff));
    let key = idempotency_key(&request)?;
    let body = bytes(&request, payload).await?;
    let wanted: BulkDecision = parse(&body)?;
    let once = Once { customer: String::new(), who: actor.name.clone(), key, request: asked(&request, &body) };
    let done = web::block(move || {
        once::run(&app, &once, |connection, at| {
            bulk::run(connection, &Command { app: &app, reader: &reader, actor: &actor, at }, &wanted)
        })
    })
    .await??;
    answered(done)
}
