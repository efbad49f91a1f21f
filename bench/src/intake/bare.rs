//! The bare handler: actix-web with nothing around it, the same JSON read by serde, one INSERT that is durable when it is
//! answered. Its connections are not even asked for a sign of life before they are used.

use actix_web::{App, HttpResponse, HttpServer, error::ErrorInternalServerError, web};
use chrono::{DateTime, Utc};
use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, Pool};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{POOL_SIZE, said};

diesel::table! {
    report (id) {
        id -> Uuid,
        incident -> Text,
        service -> Text,
        customer -> Text,
        facts -> Jsonb,
        description -> Text,
        contact -> Jsonb,
        filed_at -> Timestamptz,
    }
}

/// Makes the table.
pub(super) fn prepare(owner: &mut PgConnection) -> Result<(), String> {
    owner
        .batch_execute(
            "CREATE TABLE report (id uuid PRIMARY KEY, incident text NOT NULL, service text NOT NULL, customer text NOT NULL,
                                  facts jsonb NOT NULL, description text NOT NULL, contact jsonb NOT NULL,
                                  filed_at timestamptz NOT NULL)",
        )
        .map_err(said)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Report {
    incident: String,
    service: String,
    customer: String,
    facts: Value,
    description: String,
    contact: Value,
}

#[derive(Insertable)]
#[diesel(table_name = report)]
struct Row {
    id: Uuid,
    incident: String,
    service: String,
    customer: String,
    facts: Value,
    description: String,
    contact: Value,
    filed_at: DateTime<Utc>,
}

type Connections = Pool<ConnectionManager<PgConnection>>;

async fn file(pool: web::Data<Connections>, report: web::Json<Report>) -> actix_web::Result<HttpResponse> {
    let Report { incident, service, customer, facts, description, contact } = report.into_inner();
    let id = Uuid::now_v7();
    let row = Row { id, incident, service, customer, facts, description, contact, filed_at: Utc::now() };
    web::block(move || {
        let mut connection = pool.get().map_err(said)?;
        diesel::insert_into(report::table).values(row).execute(&mut connection).map_err(said)
    })
    .await?
    .map_err(ErrorInternalServerError)?;
    Ok(HttpResponse::Created().json(json!({ "id": id })))
}

/// Serves until it is killed; says its address on stdout.
pub(super) fn serve(url: &str) -> Result<(), String> {
    let manager = ConnectionManager::new(url);
    let pool: Connections =
        Pool::builder().max_size(POOL_SIZE).test_on_check_out(false).build(manager).map_err(said)?;
    let pool = web::Data::new(pool);
    actix_web::rt::System::new().block_on(async {
        let server =
            HttpServer::new(move || App::new().app_data(pool.clone()).route("/v1/claims", web::post().to(file)))
                .bind("127.0.0.1:0")
                .map_err(said)?;
        println!("{}", server.addrs()[0]);
        server.run().await.map_err(said)
    })
}
