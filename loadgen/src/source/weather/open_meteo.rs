//! The live weather: Open-Meteo's `current_weather`, asked at most once per city and interval.
//!
//! Payloads are taken synchronously, sometimes from inside an async runtime that must not be entered twice, so the
//! asking is done by one thread with a runtime of its own.

use std::{
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::Duration,
};

use millrace_scenarios::Source;
use reqwest::{Client, StatusCode, Url};
use serde::Deserialize;

use super::{CITIES, City};
use crate::Clock;
use crate::source::{
    LiveError, Payload, PayloadSource, SourceError,
    event_time::{Fraction, Moment},
    json::Object,
};

/// How often one reading is asked for before the source gives up.
const ATTEMPTS: u32 = 3;

/// The largest answer read; a real one is below 1 KiB.
const ANSWER_BYTES: usize = 64 << 10;

/// How patient the client is.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// For one attempt, from connect to the last byte.
    attempt: Duration,
    /// Between the first two attempts; doubles.
    pause: Duration,
}

const PATIENCE: Patience = Patience { attempt: Duration::from_secs(10), pause: Duration::from_millis(250) };

/// A measurement as the API gave it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Measurement {
    /// Degrees Celsius.
    temperature: f64,
    /// UTC to the minute, `2025-01-01T00:15`.
    time: String,
}

#[derive(Deserialize)]
struct Answer {
    current_weather: Measurement,
}

/// A measurement and when it was collected.
#[derive(Debug, Clone)]
struct Collected {
    at_us: u64,
    measurement: Measurement,
}

/// Microseconds since 1970.
type NowUs = Box<dyn Fn() -> u64 + Send>;

/// The endless sequence of live readings.
pub(in crate::source) struct Live {
    interval_us: u64,
    clock: NowUs,
    latest: [Option<Collected>; CITIES.len()],
    next: usize,
    questions: Sender<Url>,
    answers: Receiver<Result<Measurement, SourceError>>,
    urls: [Url; CITIES.len()],
}

impl Live {
    pub(in crate::source) fn open(spec: &Source) -> Result<Self, SourceError> {
        let clock = Clock::start();
        Self::with(spec, PATIENCE, Box::new(move || clock.now_us()))
    }

    fn with(spec: &Source, patience: Patience, clock: NowUs) -> Result<Self, SourceError> {
        let refused = |reason: String| SourceError::Url { url: spec.url.clone(), reason };
        let base = Url::parse(&spec.url).map_err(|error| refused(error.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(refused(format!("the scheme is {:?}", base.scheme())));
        }
        let urls = CITIES.map(|city| question(&base, &city));
        let (questions, asked) = channel();
        let (answer, answers) = channel();
        thread::Builder::new()
            .name("open-meteo".to_owned())
            .spawn(move || ask_all(&asked, &answer, patience))
            .map_err(|error| lost(&base, &error.to_string()))?;
        let interval_us = spec.interval.as_us();
        Ok(Self { interval_us, clock, latest: [const { None }; CITIES.len()], next: 0, questions, answers, urls })
    }

    /// The city's measurement, asked for again when the last one is an interval old.
    fn collected(&mut self, city: usize) -> Result<Collected, SourceError> {
        let now_us = (self.clock)();
        if let Some(latest) = self.latest[city].as_ref().filter(|c| now_us.abs_diff(c.at_us) < self.interval_us) {
            return Ok(latest.clone());
        }
        let url = &self.urls[city];
        let gone = || lost(url, "the asking thread has ended");
        self.questions.send(url.clone()).map_err(|_| gone())?;
        let measurement = self.answers.recv().map_err(|_| gone())??;
        let collected = Collected { at_us: (self.clock)(), measurement };
        self.latest[city] = Some(collected.clone());
        Ok(collected)
    }
}

impl PayloadSource for Live {
    fn next(&mut self) -> Result<Option<Payload>, SourceError> {
        let index = self.next % CITIES.len();
        let Collected { at_us, measurement } = self.collected(index)?;
        let event_us = i64::try_from(at_us).ok();
        let at = event_us.and_then(Moment::from_us).ok_or(SourceError::EventTime { sequence: self.next as u64 })?;
        self.next += 1;
        let City { name, latitude, longitude } = CITIES[index];
        let json = Object::new()
            .string("city", name)
            .verbatim("latitude", latitude)
            .verbatim("longitude", longitude)
            .verbatim("temperature", &format!("{:?}", measurement.temperature))
            .string("measurement_time", &measurement.time)
            .utc("collection_time", &at, Fraction::Always)
            .string("source", "open-meteo")
            .finish();
        Ok(Some(Payload { json, txn_timestamp: false, event_us }))
    }

    fn rejected_rows(&self) -> u64 {
        0
    }

    fn finish(&mut self) -> Result<(), SourceError> {
        Ok(())
    }
}

fn question(base: &Url, city: &City) -> Url {
    let mut url = base.clone();
    url.query_pairs_mut()
        .append_pair("latitude", city.latitude)
        .append_pair("longitude", city.longitude)
        .append_pair("current_weather", "true");
    url
}

fn lost(url: &Url, reason: &str) -> SourceError {
    SourceError::Live { url: url.to_string(), attempts: 0, source: LiveError::Transport(reason.to_owned()) }
}

/// The thread: answers questions until the source is dropped.
fn ask_all(questions: &Receiver<Url>, answers: &Sender<Result<Measurement, SourceError>>, patience: Patience) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    for url in questions {
        let answer = match &runtime {
            Ok(runtime) => runtime.block_on(ask(&url, patience)),
            Err(error) => Err(lost(&url, &error.to_string())),
        };
        if answers.send(answer).is_err() {
            return;
        }
    }
}

async fn ask(url: &Url, patience: Patience) -> Result<Measurement, SourceError> {
    let mut pause = patience.pause;
    let mut attempts = 1;
    loop {
        match attempt(url, patience.attempt).await {
            Ok(measurement) => return Ok(measurement),
            Err(source) if attempts == ATTEMPTS => {
                return Err(SourceError::Live { url: url.to_string(), attempts, source });
            }
            Err(error) => tracing::warn!(%url, attempts, %error, "no usable answer from the weather API; asking again"),
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
        attempts += 1;
    }
}

async fn attempt(url: &Url, patience: Duration) -> Result<Measurement, LiveError> {
    let transport = |error: reqwest::Error| {
        if error.is_timeout() {
            LiveError::TimedOut(patience)
        } else {
            LiveError::Transport(chain(&error.without_url()))
        }
    };
    let mut client = Client::builder().timeout(patience);
    if is_loopback(url) {
        client = client.no_proxy();
    }
    let mut response = client.build().map_err(transport)?.get(url.clone()).send().await.map_err(transport)?;
    if response.status() != StatusCode::OK {
        return Err(LiveError::Status(response.status().as_u16()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(transport)? {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_BYTES {
            return Err(LiveError::TooLarge(ANSWER_BYTES));
        }
    }
    read(&body)
}

fn read(body: &[u8]) -> Result<Measurement, LiveError> {
    let Answer { current_weather } =
        serde_json::from_slice(body).map_err(|error| LiveError::Malformed(error.to_string()))?;
    match Moment::parse(&current_weather.time) {
        Some(_) => Ok(current_weather),
        None => Err(LiveError::Malformed(format!("{:?} is not a time", current_weather.time))),
    }
}

/// An address on this machine is never reached through a proxy.
fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// An error and its causes in one line: the client's own message leaves out what the system said.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader, Write},
        net::TcpListener,
        sync::{
            Arc, Mutex,
            atomic::{AtomicU64, Ordering},
        },
    };

    use super::*;
    use crate::source::{field, spec};

    /// 2025-06-01T12:07:30Z
    const NOON_US: u64 = 1_748_779_650_000_000;

    const OK: &str = "200 OK";

    /// What the API documents for `current_weather=true`.
    fn documented(temperature: &str) -> String {
        format!(
            r#"{{"latitude":51.5,"longitude":-0.12,"generationtime_ms":0.05,"utc_offset_seconds":0,"timezone":"GMT",
            "timezone_abbreviation":"GMT","elevation":23.0,"current_weather_units":{{"time":"iso8601","interval":"seconds",
            "temperature":"°C","windspeed":"km/h","winddirection":"°","is_day":"","weathercode":"wmo code"}},
            "current_weather":{{"time":"2025-06-01T12:00","interval":900,"temperature":{temperature},"windspeed":9.4,
            "winddirection":231,"is_day":1,"weathercode":3}}}}"#
        )
    }

    /// A server on loopback that gives the n-th request the n-th answer, the last one for ever, and keeps the request lines.
    struct Server {
        url: String,
        requests: Arc<Mutex<Vec<String>>>,
    }

    fn serve(answers: Vec<(&'static str, String)>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1/forecast", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        thread::spawn(move || {
            for connection in listener.incoming() {
                let mut connection = connection.unwrap();
                let mut lines = BufReader::new(connection.try_clone().unwrap()).lines().map_while(Result::ok);
                let request = lines.next().unwrap_or_default();
                lines.take_while(|line| !line.is_empty()).for_each(drop);
                let mut seen = seen.lock().unwrap();
                let (status, body) = &answers[seen.len().min(answers.len() - 1)];
                seen.push(request);
                let length = body.len();
                let _ = write!(
                    connection,
                    "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
                );
            }
        });
        Server { url, requests }
    }

    fn live(url: &str, clock: NowUs) -> Live {
        let patience = Patience { attempt: Duration::from_secs(5), pause: Duration::from_millis(1) };
        let json = format!(r#"{{"kind":"weather","live":true,"interval":"60s","url":"{url}"}}"#);
        Live::with(&spec(&json), patience, clock).unwrap()
    }

    fn at_noon(url: &str) -> Live {
        live(url, Box::new(|| NOON_US))
    }

    #[test]
    fn a_recorded_answer_becomes_a_reading_of_its_city() {
        let server = serve(vec![(OK, documented("18.4")), (OK, documented("-2"))]);
        let mut source = at_noon(&server.url);
        assert_eq!(
            String::from_utf8(source.next().unwrap().unwrap().json).unwrap(),
            r#"{"city":"London","latitude":51.5074,"longitude":-0.1278,"temperature":18.4,"measurement_time":"2025-06-01T12:00","collection_time":"2025-06-01T12:07:30.000000Z","source":"open-meteo"}"#
        );
        let second = source.next().unwrap().unwrap().json;
        assert_eq!(field(&second, "city").as_deref(), Some("Manchester"));
        assert_eq!(field(&second, "temperature").as_deref(), Some("-2.0"));
        assert_eq!(
            *server.requests.lock().unwrap(),
            [
                "GET /v1/forecast?latitude=51.5074&longitude=-0.1278&current_weather=true HTTP/1.1",
                "GET /v1/forecast?latitude=53.4808&longitude=-2.2426&current_weather=true HTTP/1.1"
            ]
        );
    }

    #[test]
    fn a_city_is_asked_once_per_interval_and_repeated_in_between() {
        let server = serve(vec![(OK, documented("18.4"))]);
        let now = Arc::new(AtomicU64::new(NOON_US));
        let clock = Arc::clone(&now);
        let mut source = live(&server.url, Box::new(move || clock.load(Ordering::Relaxed)));
        let first: Vec<Payload> = (0..3).map(|_| source.next().unwrap().unwrap()).collect();
        now.fetch_add(59_999_999, Ordering::Relaxed);
        let second: Vec<Payload> = (0..3).map(|_| source.next().unwrap().unwrap()).collect();
        assert_eq!(first, second);
        assert_eq!(server.requests.lock().unwrap().len(), 3);
        now.fetch_add(1, Ordering::Relaxed);
        let later = source.next().unwrap().unwrap();
        assert_eq!(field(&later.json, "collection_time").as_deref(), Some("2025-06-01T12:08:30.000000Z"));
        assert_eq!(server.requests.lock().unwrap().len(), 4);
    }

    #[test]
    fn two_failures_are_survived() {
        let server = serve(vec![("503 Busy", String::new()), (OK, "{".to_owned()), (OK, documented("18.4"))]);
        assert!(at_noon(&server.url).next().is_ok());
    }

    #[test]
    fn three_failures_end_the_source_with_the_url_and_the_cause() {
        for (status, body, cause) in [
            ("503 Busy", documented("1"), "status 503"),
            ("404 Gone", String::new(), "status 404"),
            (OK, "<html>".to_owned(), "the answer has no current_weather reading"),
            (OK, r#"{"error":true,"reason":"x"}"#.to_owned(), "missing field `current_weather`"),
            (OK, documented("null"), "the answer has no current_weather reading"),
            (OK, documented("1").replace("2025-06-01T12:00", "noon"), "\"noon\" is not a time"),
            (OK, " ".repeat(ANSWER_BYTES + 1), "an answer of more than 65536 bytes"),
        ] {
            let server = serve(vec![(status, body)]);
            let error = at_noon(&server.url).next().unwrap_err();
            assert!(!error.is_configuration());
            let text = error.to_string();
            assert!(
                text.contains(cause) && text.contains("after 3 attempts") && text.starts_with(&server.url),
                "{text}"
            );
            assert_eq!(server.requests.lock().unwrap().len(), 3);
        }
    }

    #[test]
    fn a_server_that_never_answers_and_one_that_is_not_there_are_told_apart() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", silent.local_addr().unwrap());
        let patience = Patience { attempt: Duration::from_millis(50), pause: Duration::from_millis(1) };
        let json = format!(r#"{{"kind":"weather","live":true,"url":"{url}"}}"#);
        let ask = || Live::with(&spec(&json), patience, Box::new(|| NOON_US)).unwrap().next().unwrap_err();
        assert!(matches!(ask(), SourceError::Live { attempts: 3, source: LiveError::TimedOut(_), .. }));
        drop(silent);
        assert!(matches!(ask(), SourceError::Live { attempts: 3, source: LiveError::Transport(_), .. }));
    }

    #[tokio::test]
    async fn it_can_be_asked_from_inside_a_runtime() {
        let server = serve(vec![(OK, documented("18.4"))]);
        assert!(at_noon(&server.url).next().is_ok());
    }

    #[test]
    fn an_address_that_is_not_http_is_a_configuration_error() {
        let error = Live::open(&spec(r#"{"kind":"weather","live":true,"url":"ftp://example.org"}"#)).err().unwrap();
        assert!(error.is_configuration() && error.to_string().contains("ftp://example.org"), "{error}");
    }
}
