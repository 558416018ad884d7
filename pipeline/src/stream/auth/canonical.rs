//! What is signed: a request in the one form that both sides can write.

use hyper::http::request::Parts;
use ring::{digest, hmac};

/// The parameters of a query, decoded, in the order they come.
pub(super) fn query(text: &str) -> Vec<(String, String)> {
    url::form_urlencoded::parse(text.as_bytes()).map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
}

/// The canonical request. The signature itself is not part of what is signed.
pub(super) fn request(head: &Parts, query: &[(String, String)], signed_headers: &[&str], body: &[u8]) -> String {
    let mut parameters: Vec<_> = query
        .iter()
        .filter(|(name, _)| name != "X-Amz-Signature")
        .map(|(name, value)| format!("{}={}", encoded(name), encoded(value)))
        .collect();
    parameters.sort_unstable();
    let mut text = format!("{}\n{}\n{}\n", head.method, head.uri.path(), parameters.join("&"));
    for name in signed_headers {
        text += &format!("{name}:{}\n", header(head, name));
    }
    text + &format!("\n{}\n{}", signed_headers.join(";"), sha256(body))
}

/// A header's values, with single spaces. HTTP/2 carries the host in the address.
fn header(head: &Parts, name: &str) -> String {
    let values: Vec<String> = head
        .headers
        .get_all(name)
        .iter()
        .map(|value| value.to_str().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    match (name, head.uri.authority()) {
        ("host", Some(authority)) if values.is_empty() => authority.to_string(),
        _ => values.join(","),
    }
}

/// Percent-encoded but for letters, digits and `-._~`.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out += &format!("%{byte:02X}");
        }
    }
    out
}

/// In hexadecimal digits.
pub(super) fn sha256(bytes: &[u8]) -> String {
    digest::digest(&digest::SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The key of a day, region and service.
pub(super) fn signing_key(secret: &str, date: &str, region: &str, service: &str) -> hmac::Key {
    let key = |bytes: &[u8]| hmac::Key::new(hmac::HMAC_SHA256, bytes);
    [date, region, service, "aws4_request"]
        .into_iter()
        .fold(key(format!("AWS4{secret}").as_bytes()), |last, part| key(hmac::sign(&last, part.as_bytes()).as_ref()))
}

/// Whether these hexadecimal digits are the text's signature. It takes as long for one that is nearly right as for any.
pub(super) fn is_signature(key: &hmac::Key, text: &str, digits: &str) -> bool {
    let pairs = digits.as_bytes().chunks_exact(2).map(|pair| std::str::from_utf8(pair).unwrap_or_default());
    let bytes: Option<Vec<u8>> = pairs.map(|pair| u8::from_str_radix(pair, 16).ok()).collect();
    bytes.is_some_and(|bytes| hmac::verify(key, text.as_bytes(), &bytes).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of AWS's guide, "Create a signed AWS API request": IAM's ListUsers of 2015-08-30.
    #[test]
    fn the_published_example_has_the_published_signature() {
        let head = hyper::Request::get("https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08")
            .header("content-type", "application/x-www-form-urlencoded;  charset=utf-8")
            .header("x-amz-date", "20150830T123600Z")
            .body(())
            .unwrap()
            .into_parts()
            .0;
        let parameters = query(head.uri.query().unwrap());
        let request = request(&head, &parameters, &["content-type", "host", "x-amz-date"], b"");
        assert_eq!(sha256(request.as_bytes()), "f536975d06c0309214f805bb90ccff089219ecd68b2577efef23edd43b7e1a59");
        let text = format!(
            "AWS4-HMAC-SHA256\n20150830T123600Z\n20150830/us-east-1/iam/aws4_request\n{}",
            sha256(request.as_bytes())
        );
        let key = signing_key("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "20150830", "us-east-1", "iam");
        let published = "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7";
        assert!(is_signature(&key, &text, published));
        assert!(!is_signature(&key, &text, &published.replace('5', "6")));
        assert!(!is_signature(&key, &text, ""));
    }
}
