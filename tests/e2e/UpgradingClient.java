import java.io.ByteArrayInputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;

/** Java's HttpClient as it is by default: its first request asks to upgrade to h2c. Prints a line for each response. */
class UpgradingClient {
    public static void main(String[] arguments) throws Exception {
        String url = arguments[0], token = arguments[1], body = arguments[2];
        BodyPublisher[] bodies = {
            BodyPublishers.ofString(body),
            BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(body.getBytes())),
        };
        for (BodyPublisher publisher : bodies) {
            HttpClient client = HttpClient.newHttpClient();
            for (int i = 0; i < 2; i++) {
                HttpRequest post = HttpRequest.newBuilder(URI.create(url))
                    .header("Authorization", "Bearer " + token)
                    .header("Content-Type", "application/json")
                    .POST(publisher)
                    .build();
                var response = client.send(post, BodyHandlers.ofString());
                System.out.println(response.statusCode() + " " + response.version() + " " + response.body());
            }
        }
    }
}
